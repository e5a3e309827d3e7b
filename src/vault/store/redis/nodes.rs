//! Which server has what, and what is done when that changes: a server by itself with those that may take its place, or a cluster.
//!
//! Commands go to the node of their slot, all of one node's at once. A node that has moved, restarts or fails over is asked again within the
//! time limit, after looking who has its place; one that refuses for good ends the call. Every command may be done twice: the store
//! above sees to that. Start at [`Nodes::all`].

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::future::join_all;
use tokio::time::{Instant, sleep};

use super::connection::{Connection, confirms};
use super::fault::{Fault, Unfit, passes};
use super::keys::{Bucket, Keys, Kind};
use super::mark::Mark;
use super::places::{Found, Places, elsewhere, find_places};
use super::proof;
use super::scripts::{Script, Shas};
use super::settings::{Address, Settings};
use super::wire::{self, Reply};

/// The wait before the second try; doubled each time.
const PAUSE: Duration = Duration::from_millis(5);
const PAUSE_MAX: Duration = Duration::from_millis(200);
/// Least time between two attempts to connect to a server that could not be reached.
const RECONNECT: Duration = Duration::from_millis(100);

/// All servers of a store.
pub(super) struct Nodes {
    settings: Arc<Settings>,
    keys: Keys,
    mark: Arc<Mark>,
    shas: Shas,
    places: ArcSwap<Places>,
    nodes: Mutex<HashMap<Address, Arc<Node>>>,
    /// When somebody last looked who has what.
    looked: tokio::sync::Mutex<Option<Instant>>,
}

/// One server.
struct Node {
    address: Address,
    connection: tokio::sync::Mutex<Line>,
}

#[derive(Default)]
struct Line {
    connection: Option<Connection>,
    failed: Option<(Instant, Fault)>,
}

/// A command, and where it belongs.
#[derive(Clone)]
pub(super) struct Command {
    pub(super) bucket: Bucket,
    pub(super) frame: Vec<u8>,
    /// Its answer counts only when all that it shows is kept as demanded.
    pub(super) confirm: bool,
}

/// A command that waits for its answer.
struct Open {
    /// Its place among all.
    number: usize,
    /// Where it was sent on to, for this once.
    sent_on: Option<Address>,
}

/// What is to be done with an answer.
enum Verdict {
    Done(Reply),
    /// The slot is there now.
    Moved(Address),
    /// For this once.
    SentOn(Address),
    /// The scripts are to be loaded again.
    Reload,
    Later(Fault),
    Never(Fault),
}

impl Command {
    /// One that only reads, from one bucket.
    pub(super) fn read(bucket: Bucket, parts: &[&[u8]]) -> Self {
        let mut frame = Vec::new();
        wire::push(&mut frame, parts);
        Self { bucket, frame, confirm: false }
    }
}

impl Nodes {
    /// Connects to the first that answers, and looks who has what.
    pub(super) async fn open(settings: Settings) -> Result<Self, Fault> {
        let settings = Arc::new(settings);
        let keys = Keys::new(&settings.prefix);
        let mark = Arc::new(Mark::new(keys.clone()));
        let (began, mut pause) = (Instant::now(), PAUSE);
        loop {
            match find_places(&settings, &mark, &settings.nodes).await {
                Ok(Found { first, places, replicas, shas }) => {
                    if let (1.., None) = (replicas, settings.replicas) {
                        return Err(Fault::Unfit { node: first, unfit: Unfit::Undecided(replicas) });
                    }
                    let (places, nodes, looked) = (ArcSwap::from_pointee(places), Mutex::default(), Default::default());
                    return Ok(Self { settings, keys, mark, shas, places, nodes, looked });
                }
                Err(fault) if !fault.passes() || began.elapsed() + pause > settings.patience.max(settings.time) => {
                    return Err(fault);
                }
                Err(_) => sleep(pause).await,
            }
            pause = (2 * pause).min(PAUSE_MAX);
        }
    }

    /// The mark of the store, and who has the first bucket.
    pub(super) fn mark(&self) -> (&Mark, Address) {
        let first = self.places.load().of(super::keys::row_bucket(0).slot).cloned();
        (&self.mark, first.or_else(|| self.settings.nodes.first().cloned()).unwrap_or_default())
    }

    pub(super) fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Whether it is a cluster, where a script sees one slot.
    pub(super) fn is_cluster(&self) -> bool {
        matches!(**self.places.load(), Places::Many(_))
    }

    /// A call of a script on some keys of a bucket.
    pub(super) fn call(&self, script: Script, bucket: Bucket, kinds: &[Kind], arguments: &[&[u8]]) -> Command {
        let keys: Vec<_> = kinds.iter().map(|kind| self.keys.name(bucket, *kind)).collect();
        let keys: Vec<_> = keys.iter().map(Vec::as_slice).collect();
        self.call_on(script, bucket, &keys, arguments)
    }

    /// A call of a script on these keys.
    pub(super) fn call_on(&self, script: Script, bucket: Bucket, keys: &[&[u8]], arguments: &[&[u8]]) -> Command {
        Command { bucket, frame: self.shas.call(script, keys, arguments), confirm: true }
    }

    /// Every server that has slots, with a slot of each.
    pub(super) fn owners(&self) -> Vec<Bucket> {
        let places = self.places.load();
        let mut owners = BTreeMap::new();
        for number in 0..super::keys::POINTER_BUCKETS {
            let bucket = super::keys::pointer_bucket(number);
            if let Some(address) = places.of(bucket.slot) {
                owners.entry(address.clone()).or_insert(bucket);
            }
        }
        owners.into_values().collect()
    }

    /// Has all of these done, and gives their answers in order.
    pub(super) async fn all(&self, commands: &[Command]) -> Result<Vec<Reply>, Fault> {
        self.all_told(commands).await.map(|(replies, _)| replies)
    }

    /// As [`Self::all`]; and whether one of them may have been done twice, the first time by a try whose answer was lost.
    pub(super) async fn all_told(&self, commands: &[Command]) -> Result<(Vec<Reply>, bool), Fault> {
        let (began, mut pause) = (Instant::now(), PAUSE);
        // A little less than the caller's own limit: what is wrong is then told by us, who know it.
        let limit = self.settings.time * 9 / 10;
        let mut replies: Vec<_> = commands.iter().map(|_| Reply::Nothing).collect();
        let mut open: Vec<_> = (0..commands.len()).map(|number| Open { number, sent_on: None }).collect();
        let mut twice = false;
        while !open.is_empty() {
            let mut again = Vec::new();
            let mut delayed = None;
            for (number, verdict) in self.round(commands, open).await {
                let mut sent_on = None;
                match verdict {
                    Verdict::Done(reply) => {
                        if let Some(slot) = replies.get_mut(number) {
                            *slot = reply;
                        }
                        continue;
                    }
                    Verdict::Moved(to) => self.moved(commands, number, to),
                    Verdict::SentOn(to) => sent_on = Some(to),
                    Verdict::Reload => {}
                    Verdict::Later(fault) => {
                        twice |= !matches!(fault, Fault::NotNow { .. } | Fault::Uncovered(_));
                        delayed = Some(fault);
                    }
                    Verdict::Never(fault) => return Err(fault),
                }
                again.push(Open { number, sent_on });
            }
            if let Some(fault) = delayed {
                if began.elapsed() + pause > limit {
                    return Err(fault);
                }
                sleep(pause).await;
                pause = (2 * pause).min(PAUSE_MAX);
                self.look().await;
            } else if !again.is_empty() && began.elapsed() > limit {
                return Err(Fault::Late);
            }
            open = again;
        }
        Ok((replies, twice))
    }

    /// Sends each to where it belongs, all of a server's at once.
    async fn round(&self, commands: &[Command], open: Vec<Open>) -> Vec<(usize, Verdict)> {
        let places = self.places.load_full();
        let mut verdicts = Vec::with_capacity(open.len());
        let mut parties: HashMap<(Address, bool), Vec<usize>> = HashMap::new();
        for Open { number, sent_on } in open {
            let slot = commands.get(number).map_or(0, |command| command.bucket.slot);
            let is_sent_on = sent_on.is_some();
            match sent_on.or_else(|| places.of(slot).cloned()) {
                Some(address) => parties.entry((address, is_sent_on)).or_default().push(number),
                None => verdicts.push((number, Verdict::Later(Fault::Uncovered(slot)))),
            }
        }
        let places = &*places;
        let sending = parties.into_iter().map(|((address, asking), numbers)| async move {
            let chosen: Vec<_> = numbers.iter().filter_map(|number| commands.get(*number)).collect();
            let node = self.node(&address);
            let answered = self.send(&node, places, asking, &chosen).await;
            let mut found = Vec::with_capacity(numbers.len());
            match answered {
                Ok(replies) => {
                    for (number, reply) in numbers.into_iter().zip(replies) {
                        found.push((number, judge(&address, reply)));
                    }
                }
                Err(fault) => {
                    let verdict =
                        || if fault.passes() { Verdict::Later(fault.clone()) } else { Verdict::Never(fault.clone()) };
                    found.extend(numbers.into_iter().map(|number| (number, verdict())));
                }
            }
            if found.iter().any(|(_, verdict)| matches!(verdict, Verdict::Reload)) {
                node.connection.lock().await.connection = None;
            }
            found
        });
        verdicts.extend(join_all(sending).await.into_iter().flatten());
        verdicts
    }

    /// Sends commands to a server.
    async fn send(
        &self,
        node: &Node,
        places: &Places,
        asking: bool,
        commands: &[&Command],
    ) -> Result<Vec<Reply>, Fault> {
        let connection = node.connected(&self.settings, &self.mark, places).await?;
        let confirm = confirms(&self.settings) && commands.iter().any(|command| command.confirm);
        let mut frames = Vec::with_capacity(commands.iter().map(|command| command.frame.len() + 64).sum());
        for command in commands {
            if asking {
                wire::push(&mut frames, &[b"ASKING"]);
            }
            frames.extend_from_slice(&command.frame);
        }
        let each = if asking { 2 } else { 1 };
        let mut answers = each * commands.len();
        if let (true, Some(command)) = (confirm, commands.first()) {
            // What was only read may have been written by another a moment ago: what is waited for is a write behind all of it.
            if asking {
                wire::push(&mut frames, &[b"ASKING"]);
            }
            wire::push(&mut frames, &[b"SET", &self.keys.name(command.bucket, Kind::Proof), b""]);
            answers += each;
        }
        let mut replies = connection.ask(frames, answers, confirm).await?;
        if asking {
            let mut number = 0;
            replies.retain(|_| {
                number += 1;
                number % 2 == 0
            });
        }
        if let (true, Some(Reply::Refused { code, .. })) = (confirm, replies.last()) {
            return Err(proof::refusal(&node.address, code));
        }
        replies.truncate(commands.len());
        Ok(replies)
    }

    fn node(&self, address: &Address) -> Arc<Node> {
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(node) = nodes.get(address) {
            return Arc::clone(node);
        }
        let node = Arc::new(Node { address: address.clone(), connection: Default::default() });
        nodes.insert(address.clone(), Arc::clone(&node));
        node
    }

    /// A slot is elsewhere.
    fn moved(&self, commands: &[Command], number: usize, to: Address) {
        let Some(slot) = commands.get(number).map(|command| command.bucket.slot) else { return };
        self.places.rcu(|places| {
            let mut places = Places::clone(places);
            places.moved(slot, &to);
            places
        });
    }

    /// Looks again who has what; of those that look at once, one does it for all.
    async fn look(&self) {
        let mut looked = self.looked.lock().await;
        if looked.is_some_and(|looked| looked.elapsed() < PAUSE_MAX) {
            return;
        }
        let before = self.places.load_full();
        let mut known: Vec<_> = self.settings.nodes.clone();
        known.extend(before.all().into_iter().filter(|address| !self.settings.nodes.contains(address)));
        if let Ok(Found { places, .. }) = find_places(&self.settings, &self.mark, &known).await {
            let still: Vec<_> = places.all();
            self.nodes.lock().unwrap_or_else(PoisonError::into_inner).retain(|address, _| still.contains(address));
            if places != *before {
                self.places.store(Arc::new(places));
            }
        }
        *looked = Some(Instant::now());
    }
}

fn judge(node: &Address, reply: Reply) -> Verdict {
    match reply {
        Reply::Refused { code, to } => match (code.as_str(), to.as_deref().and_then(|to| elsewhere(node, to))) {
            ("MOVED", Some(to)) => Verdict::Moved(to),
            ("ASK", Some(to)) => Verdict::SentOn(to),
            ("NOSCRIPT", _) => Verdict::Reload,
            (other, _) if passes(other) => Verdict::Later(proof::refusal(node, other)),
            (other, _) => Verdict::Never(proof::refusal(node, other)),
        },
        reply => Verdict::Done(reply),
    }
}

impl Node {
    /// The connection to it; made anew where it has ended, but not more often than is good.
    async fn connected(
        &self,
        settings: &Arc<Settings>,
        mark: &Arc<Mark>,
        places: &Places,
    ) -> Result<Connection, Fault> {
        let mut line = self.connection.lock().await;
        if let Some(connection) = line.connection.as_ref().filter(|connection| !connection.is_closed()) {
            return Ok(connection.clone());
        }
        line.connection = None;
        if let Some((_, fault)) = line.failed.as_ref().filter(|(at, _)| at.elapsed() < RECONNECT) {
            return Err(fault.clone());
        }
        let opened = Connection::open(&self.address, settings, mark, places.own(&self.address)).await.and_then(
            |(connection, server, _)| {
                let unfit = server.unfit.map(|unfit| Fault::Unfit { node: self.address.clone(), unfit });
                unfit.map_or(Ok(connection), Err)
            },
        );
        line.failed = opened.as_ref().err().map(|fault| (Instant::now(), fault.clone()));
        line.connection = opened.as_ref().ok().cloned();
        opened
    }
}
