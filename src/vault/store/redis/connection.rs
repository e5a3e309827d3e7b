//! One connection to one server: proven before anything is kept by it, pipelined, and confirmed by replicas where that is demanded.
//!
//! Whoever asks hands over commands and waits; one task writes all that waits at once, another hands out the answers in order. Not here: which
//! server, and whether to try again ([`super::nodes`]). Start at [`Connection::open`].

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncWriteExt, BufReader, ReadHalf, WriteHalf, split};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout};
use zeroize::Zeroizing;

use crate::http::stream::{self, Stream};

use super::fault::{Fault, Unfit};
use super::keys::Bucket;
use super::mark::Mark;
use super::proof::{self, Server};
use super::scripts::{self, Shas};
use super::settings::{Address, Durability, Settings};
use super::wire::{self, Reply};

/// Askers that may wait to be written; the next ones wait for a place.
const QUEUE: usize = 1024;
/// Bytes of answers that are read at once.
const BUFFER: usize = 64 << 10;
/// Answers that a proof gets: what the server promises, and its mark.
const PROOF_ANSWERS: usize = proof::ANSWERS + 1;
/// How long a proof is good for while the connection is in use.
const PROOF_AGE: Duration = Duration::from_secs(1);

/// A handle on a connection; it ends when the last handle is dropped.
#[derive(Clone)]
pub(super) struct Connection {
    asks: mpsc::Sender<Ask>,
    lost: Fault,
}

/// Commands, and where the answers go.
struct Ask {
    frames: Vec<u8>,
    answers: usize,
    /// To be confirmed before the answers are given.
    confirm: bool,
    told: oneshot::Sender<Result<Vec<Reply>, Fault>>,
}

/// What was written at once.
struct Group {
    asks: Vec<Ask>,
    /// A proof was asked for in front.
    proof: bool,
    /// A confirmation was asked for behind.
    confirm: bool,
}

/// What both tasks know.
struct Line {
    node: Address,
    settings: Arc<Settings>,
    mark: Arc<Mark>,
    /// A bucket of the server's, by whose mark it is known again.
    own: Bucket,
}

impl Connection {
    /// Connects, says who we are, and asks what the server promises. What it would not keep is for the caller to see.
    /// `own`: a bucket of rows that is its own.
    pub(super) async fn open(
        node: &Address,
        settings: &Arc<Settings>,
        mark: &Arc<Mark>,
        own: Bucket,
    ) -> Result<(Self, Server, Shas), Fault> {
        let away = |why: String| Fault::Away { node: node.clone(), why };
        let (settings, mark) = (Arc::clone(settings), Arc::clone(mark));
        let line = Line { node: node.clone(), settings: Arc::clone(&settings), mark, own };
        let opened = timeout(settings.time, Self::begin(line)).await;
        opened.unwrap_or_else(|_| Err(away(format!("no answer within {:?}", settings.time))))
    }

    async fn begin(line: Line) -> Result<(Self, Server, Shas), Fault> {
        let line = Arc::new(line);
        let (node, read) = (&line.node, Arc::clone(&line));
        // Reads and parses files: not on a thread that has exchanges to serve.
        let papers = tokio::task::spawn_blocking(move || Ok((tls(&read.settings)?, read.greeting()?))).await;
        let cut_off = |_| Err(Fault::Settings("reading them was cut off".to_owned()));
        let (tls, (frames, answers)) = papers.unwrap_or_else(cut_off)?;
        let stream = stream::connect(&node.host, node.port, tls.as_ref()).await.map_err(|error| away(node, &error))?;
        let (reading, mut writing) = split(stream);
        let mut reading = BufReader::with_capacity(BUFFER, reading);
        writing.write_all(&frames).await.map_err(|error| away(node, &error))?;
        writing.flush().await.map_err(|error| away(node, &error))?;
        let mut replies = Vec::with_capacity(answers);
        for _ in 0..answers {
            replies.push(wire::read(&mut reading).await.map_err(|error| away(node, &error))?);
        }
        let (server, shas) = line.welcome(&replies)?;
        let (asks, waiting) = mpsc::channel(QUEUE);
        let (written, groups) = mpsc::unbounded_channel();
        tokio::spawn(write(Arc::clone(&line), waiting, writing, written));
        let lost = Fault::Away { node: node.clone(), why: "the connection broke off".to_owned() };
        tokio::spawn(hand_out(line, groups, reading));
        Ok((Self { asks, lost }, server, shas))
    }

    /// Whether it has ended.
    pub(super) fn is_closed(&self) -> bool {
        self.asks.is_closed()
    }

    /// Sends commands, and gives their answers in order. `confirm`: they are kept as demanded by then.
    pub(super) async fn ask(&self, frames: Vec<u8>, answers: usize, confirm: bool) -> Result<Vec<Reply>, Fault> {
        let (told, answer) = oneshot::channel();
        let ask = Ask { frames, answers, confirm, told };
        self.asks.send(ask).await.map_err(|_| self.lost.clone())?;
        answer.await.unwrap_or_else(|_| Err(self.lost.clone()))
    }
}

fn away(node: &Address, error: &io::Error) -> Fault {
    let why = match error.kind() {
        io::ErrorKind::UnexpectedEof => "it closed the connection".to_owned(),
        _ => error.to_string().to_lowercase(),
    };
    Fault::Away { node: node.clone(), why }
}

/// What TLS believes and shows, as it is in the files now.
fn tls(settings: &Settings) -> Result<Option<stream::Tls>, Fault> {
    let Some(tls) = &settings.tls else { return Ok(None) };
    let identity = tls.identity.as_ref().map(|(certificate, key)| (certificate.as_path(), key.as_path()));
    stream::Tls::new(tls.ca.as_deref(), identity).map(Some).map_err(Fault::Settings)
}

/// The command that waits until what was written is kept as demanded; nothing, where the server's answer says as much.
fn confirmation(out: &mut Vec<u8>, settings: &Settings) -> bool {
    let (replicas, time) = (settings.replicas.unwrap_or(0).to_string(), settings.time.as_millis().to_string());
    match (settings.durability, settings.replicas) {
        (Durability::Waited, _) => wire::push(out, &[b"WAITAOF", b"1", replicas.as_bytes(), time.as_bytes()]),
        (_, Some(1..)) => wire::push(out, &[b"WAIT", replicas.as_bytes(), time.as_bytes()]),
        _ => return false,
    }
    true
}

/// Whether anything is confirmed at all.
pub(super) fn confirms(settings: &Settings) -> bool {
    settings.durability == Durability::Waited || settings.replicas.is_some_and(|replicas| replicas > 0)
}

/// Writes what waits, all of it at once.
async fn write(
    line: Arc<Line>,
    mut waiting: mpsc::Receiver<Ask>,
    mut stream: WriteHalf<Box<dyn Stream>>,
    written: mpsc::UnboundedSender<Group>,
) {
    let (mut buffer, mut proven) = (Vec::new(), Instant::now());
    loop {
        let mut asks = Vec::new();
        tokio::select! {
            () = written.closed() => return,
            count = waiting.recv_many(&mut asks, QUEUE) => if count == 0 { return },
        }
        buffer.clear();
        let proof = proven.elapsed() > PROOF_AGE;
        if proof {
            line.questions(&mut buffer);
            proven = Instant::now();
        }
        for ask in &mut asks {
            buffer.append(&mut ask.frames);
        }
        let confirm = asks.iter().any(|ask| ask.confirm) && confirmation(&mut buffer, &line.settings);
        let sent = written.send(Group { asks, proof, confirm });
        // Who does not read does not keep us for ever: the other task ends, and with it this one.
        let writing = async { stream.write_all(&buffer).await.and(stream.flush().await) };
        tokio::select! {
            () = written.closed() => return,
            done = writing => if sent.is_err() || done.is_err() { return },
        }
        if buffer.capacity() > 1 << 20 {
            buffer = Vec::new();
        }
    }
}

/// Reads the answers, and gives them to who waits. Ends, and so ends the connection, at the first thing that is not right.
async fn hand_out(
    line: Arc<Line>,
    mut groups: mpsc::UnboundedReceiver<Group>,
    mut stream: BufReader<ReadHalf<Box<dyn Stream>>>,
) {
    while let Some(group) = groups.recv().await {
        if let Err(fault) = hand_out_group(&line, group, &mut stream).await {
            // All that was written behind it: it may have been done, or not.
            groups.close();
            while let Some(group) = groups.recv().await {
                tell_all(group.asks, &fault);
            }
            return;
        }
    }
}

async fn hand_out_group(
    line: &Line,
    group: Group,
    stream: &mut BufReader<ReadHalf<Box<dyn Stream>>>,
) -> Result<(), Fault> {
    let mut answers = Vec::with_capacity(group.asks.len());
    let confirmed = async {
        if group.proof {
            let proofs = line.read(PROOF_ANSWERS, stream).await?;
            if let Some(unfit) = line.judge(&proofs)?.unfit {
                return Err(Fault::Unfit { node: line.node.clone(), unfit });
            }
        }
        for ask in &group.asks {
            answers.push(line.read(ask.answers, stream).await?);
        }
        if group.confirm {
            return line.confirmed(&line.read(1, stream).await?);
        }
        Ok(())
    };
    if let Err(fault) = confirmed.await {
        tell_all(group.asks, &fault);
        return Err(fault);
    }
    for (ask, answers) in group.asks.into_iter().zip(answers) {
        // Whether somebody still waits does not matter.
        let _ = ask.told.send(Ok(answers));
    }
    Ok(())
}

fn tell_all(asks: Vec<Ask>, fault: &Fault) {
    for ask in asks {
        let _ = ask.told.send(Err(fault.clone()));
    }
}

impl Line {
    /// The first commands, and how many answers they get.
    fn greeting(&self) -> Result<(Zeroizing<Vec<u8>>, usize), Fault> {
        let settings = &self.settings;
        let mut frames = Zeroizing::new(Vec::with_capacity(16 << 10));
        let mut answers = 0;
        if let Some(password) = &settings.password {
            let text = password.read().map_err(Fault::Settings)?;
            match &settings.login {
                Some(login) => wire::push(&mut frames, &[b"AUTH", login.as_bytes(), text.as_bytes()]),
                None => wire::push(&mut frames, &[b"AUTH", text.as_bytes()]),
            }
            answers += 1;
        }
        self.questions(&mut frames);
        answers += PROOF_ANSWERS;
        answers += scripts::load(&mut frames);
        if settings.durability == Durability::Waited {
            confirmation(&mut frames, settings);
            answers += 1;
        }
        Ok((frames, answers))
    }

    fn welcome(&self, mut replies: &[Reply]) -> Result<(Server, Shas), Fault> {
        let garbled = || Fault::Garbled { node: self.node.clone() };
        if self.settings.password.is_some() {
            let (login, rest) = replies.split_first().ok_or_else(garbled)?;
            if let Reply::Refused { code, .. } = login {
                return Err(proof::refusal(&self.node, code));
            }
            replies = rest;
        }
        let (proofs, rest) = replies.split_at_checked(PROOF_ANSWERS).ok_or_else(garbled)?;
        let mut server = self.judge(proofs)?;
        if let Some(Unfit::Sentinel) = server.unfit {
            return Err(Fault::Unfit { node: self.node.clone(), unfit: Unfit::Sentinel });
        }
        let (shas, rest) = rest.split_at_checked(scripts::COUNT).unwrap_or_default();
        if self.settings.durability == Durability::Waited
            && server.unfit.is_none()
            && matches!(rest, [Reply::Refused { .. }] | [])
        {
            server.unfit = Some(Unfit::NoWaiting);
        }
        Ok((server, scripts::shas(&self.node, shas)?))
    }

    /// What a server is asked again and again.
    fn questions(&self, out: &mut Vec<u8>) {
        proof::questions(out);
        self.mark.question(out, self.own);
    }

    fn judge(&self, answers: &[Reply]) -> Result<Server, Fault> {
        let (mark, promises) = answers.split_last().ok_or_else(|| Fault::Garbled { node: self.node.clone() })?;
        let mut server = proof::judge(&self.node, &self.settings, promises)?;
        if server.unfit.is_none() {
            server.unfit = self.mark.judge(&self.node, mark)?;
        }
        Ok(server)
    }

    async fn read(
        &self,
        answers: usize,
        stream: &mut BufReader<ReadHalf<Box<dyn Stream>>>,
    ) -> Result<Vec<Reply>, Fault> {
        let mut replies = Vec::with_capacity(answers);
        for _ in 0..answers {
            // Longer than a caller waits, and than a confirmation may take: this ends a connection on which nothing comes any more.
            let read = timeout(2 * self.settings.time, wire::read(stream)).await;
            let read = read.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
            replies.push(read.map_err(|error| away(&self.node, &error))?);
        }
        Ok(replies)
    }

    /// What came of waiting for the disk and the replicas.
    fn confirmed(&self, answer: &[Reply]) -> Result<(), Fault> {
        let node = || self.node.clone();
        let want = self.settings.replicas.unwrap_or(0);
        let enough = |have: i64| have >= i64::from(want);
        match answer {
            [Reply::Refused { code, .. }] => Err(proof::refusal(&self.node, code)),
            [Reply::Number(have)] if enough(*have) => Ok(()),
            [Reply::Number(have)] => Err(Fault::Replicas { node: node(), have: *have, want }),
            [Reply::List(both)] => match both.as_slice() {
                [Reply::Number(0), _] => Err(Fault::NotSynced { node: node() }),
                [Reply::Number(_), Reply::Number(have)] if enough(*have) => Ok(()),
                [Reply::Number(_), Reply::Number(have)] => Err(Fault::Replicas { node: node(), have: *have, want }),
                _ => Err(Fault::Garbled { node: node() }),
            },
            _ => Err(Fault::Garbled { node: node() }),
        }
    }
}
