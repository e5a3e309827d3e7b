//! Runs cases against the program, several side by side, and holds each against what it expects and against what always holds.
//!
//! Start at [`Rig::run`]; what a case is, at [`Case`].

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::far::{Far, Says};
use super::frames;
use super::harness::canary::Canaries;
use super::harness::policy::Policy;
use super::harness::upstream::Upstream;
use super::harness::{Tidegate, runtime};
use super::reading::{self, End, Message, Reading};

/// One case.
pub struct Case {
    pub name: String,
    /// What the partner sends: [`fill`] tells what stands for what.
    pub sends: Vec<u8>,
    /// What the upstream does.
    pub says: Says,
    pub reaches: Reaches,
    pub gets: Gets,
}

/// Makes frames; what it is given puts the lane's own words into a text.
type Frames = dyn Fn(&dyn Fn(&str) -> String) -> Vec<u8> + Send + Sync;

/// One case of HTTP/2.
pub struct Framed {
    pub name: String,
    /// What is sent.
    pub frames: Box<Frames>,
    /// The stream with which it is over.
    pub until: u32,
    /// The requests that reach the upstream; `*`: any.
    pub reaches: Vec<String>,
    /// The rows of which the partner gets one ([`frames::Heard::row`]).
    pub rows: &'static str,
}

impl Framed {
    /// Whatever reaches the upstream.
    pub fn any_reaches(mut self) -> Self {
        self.reaches = vec!["*".to_owned()];
        self
    }

    /// A `POST` with these fields, a body in pieces, and fields behind it.
    pub fn with_body(
        mut self,
        more: Vec<(&'static str, &'static str)>,
        pieces: &'static [&'static str],
        trailers: &'static [(&'static str, &'static str)],
    ) -> Self {
        self.frames = Box::new(move |fill| {
            let (key, nonce) = (fill("@key@"), fill("@nonce@"));
            let mut fields =
                vec![(":method", "POST"), (":scheme", "http"), (":authority", "localhost"), (":path", "/v1/items")];
            fields.extend([("x-api-key", &*key), ("idempotency-key", &*nonce)]);
            fields.extend(&more);
            let mut all =
                [frames::preface(), frames::frame(frames::HEADERS, frames::END_HEADERS, 1, &frames::block(&fields))]
                    .concat();
            for (number, piece) in pieces.iter().enumerate() {
                let last = number + 1 == pieces.len() && trailers.is_empty();
                all.extend(frames::frame(frames::DATA, u8::from(last), 1, piece.as_bytes()));
            }
            if !trailers.is_empty() {
                let flags = frames::END_HEADERS | frames::END_STREAM;
                all.extend(frames::frame(frames::HEADERS, flags, 1, &frames::block(trailers)));
            }
            all
        });
        self
    }
}

/// What may reach the upstream.
#[derive(Clone, Debug)]
pub enum Reaches {
    /// These requests and no others: method, target, body.
    Exactly(Vec<String>),
    /// Some of the requests that were sent, as [`reading::requests`] has them, in their order.
    OfThose,
    /// Each of them.
    All,
}

/// What the partner may get.
#[derive(Clone, Debug)]
pub enum Gets {
    /// One of these rows of statuses; a row `-` is a connection that is closed without an answer. `cut` at its end: the last
    /// answer is broken off.
    Rows(&'static str),
    /// To all that is in order an answer, and an error or a closed connection to what is not.
    Sound,
}

/// Fields that an answer of ours may have.
const OURS: &[&str] = &[
    "allow",
    "cache-control",
    "connection",
    "content-encoding",
    "content-language",
    "content-length",
    "content-type",
    "date",
    "etag",
    "expires",
    "retry-after",
    "tidegate-exchange",
    "transfer-encoding",
    "vary",
    "www-authenticate",
];

/// Fields that a request to an upstream may have.
const THEIRS: &[&str] = &[
    "accept",
    "accept-encoding",
    "content-language",
    "content-length",
    "content-type",
    "date",
    "host",
    "idempotency-key",
    "sec-gpc",
    "transfer-encoding",
    "user-agent",
];

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// How many cases run at a time, each with a partner and an upstream of its own.
const LANES: usize = 8;

const ROUTES: &str = r#"
[[inbound]]
match = "GET,POST,PUT,DELETE /v1/items"
upstream = "@lane@"
[inbound.request]
keep = ["$.n"]
query = ["page"]
[inbound.response]
keep = ["$.open"]

[[inbound]]
match = "GET,POST /v1/items/{id}"
upstream = "@lane@"
[inbound.request]
keep = ["$.n"]
query = ["page"]
[inbound.response]
keep = ["$.open"]

[[inbound]]
match = "GET /v1/victim"
upstream = "@lane@"
[inbound.response]
keep = ["$.open"]

[[inbound]]
match = "GET /v1/lines"
upstream = "@lane@"
[inbound.response]
body = "ndjson"
keep = ["$.open"]
"#;

/// The program, and the lanes.
pub struct Rig {
    tidegate: Tidegate,
    lanes: Vec<Lane>,
    canaries: Canaries,
}

struct Lane {
    number: usize,
    near: SocketAddr,
    key: String,
    far: Far,
}

/// What came of the cases of a lane.
#[derive(Default)]
struct Found {
    wrong: Vec<String>,
    /// Exchanges that were answered with 200.
    delivered: BTreeSet<String>,
    shown: Vec<u8>,
}

impl Rig {
    /// Starts it, with these settings.
    pub fn start(settings: &[&str]) -> Self {
        let canaries = Canaries::default();
        let fars: Vec<Far> = (0..LANES).map(|_| Far::start()).collect();
        let policy =
            |lane: usize| Policy::of(&format!("lane{lane}"), &ROUTES.replace("@lane@", &format!("lane{lane}")));
        let mut builder = Tidegate::with(policy(0));
        for lane in 1..LANES {
            builder = builder.and(policy(lane));
        }
        for (lane, far) in fars.iter().enumerate() {
            builder = builder.upstream(&format!("lane{lane}"), &Upstream::at(far.address, &canaries));
        }
        for setting in ["ledger.durability=batched", "telemetry.level=debug"].iter().chain(settings) {
            builder = builder.set(setting);
        }
        let tidegate = runtime().block_on(builder.start());
        let lanes = fars.into_iter().enumerate().map(|(number, far)| {
            let partner = tidegate.partner(&format!("lane{number}"));
            Lane { number, near: partner.plain_address(), key: partner.key().to_owned(), far }
        });
        let lanes = lanes.collect();
        Self { tidegate, lanes, canaries }
    }

    /// Runs a family of cases; stops the test with all that was wrong.
    pub fn run(&self, family: &str, cases: &[Case]) {
        self.each(family, cases, |lane, number, case, found| {
            let done = lane.run(number, case, &self.canaries, found);
            done.map_err(|wrong| format!("{}: {wrong}\n    {}", case.name, case.sends.escape_ascii()))
        });
    }

    /// The same of frames.
    pub fn run_frames(&self, family: &str, cases: &[Framed]) {
        self.each(family, cases, |lane, number, case, found| {
            let done = lane.run_frames(number, case, &self.canaries, found);
            done.map_err(|wrong| format!("{}: {wrong}", case.name))
        });
    }

    fn each<C: Sync>(
        &self,
        family: &str,
        cases: &[C],
        run: impl Fn(&Lane, usize, &C, &mut Found) -> Result<(), String> + Sync,
    ) {
        let (next, found, begun) = (AtomicUsize::new(0), Mutex::new(Found::default()), Instant::now());
        std::thread::scope(|scope| {
            for lane in &self.lanes {
                scope.spawn(|| {
                    let mut own = Found::default();
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        let Some(case) = cases.get(number) else { break };
                        let wrong = run(lane, number, case, &mut own).err();
                        own.wrong.extend(wrong);
                    }
                    let mut found = found.lock().unwrap();
                    found.wrong.extend(own.wrong);
                    found.delivered.extend(own.delivered);
                    found.shown.extend(own.shown);
                });
            }
        });
        self.end(family, cases.len(), begun, found.into_inner().unwrap());
    }

    fn end(&self, family: &str, cases: usize, begun: Instant, mut found: Found) {
        for lane in &self.lanes {
            self.tidegate.ground().trap.show(&format!("lane{}", lane.number), &found.shown);
        }
        found.wrong.extend(self.missing(&found.delivered));
        let passed = cases.saturating_sub(found.wrong.len());
        let line = format!("wire: {family}: {passed} of {cases} cases passed in {:.1?}\n", begun.elapsed());
        // Not by `print!`, which a test that passes keeps to itself.
        std::io::stdout().write_all(line.as_bytes()).unwrap();
        let most = found.wrong.iter().take(60).map(|wrong| format!("\n  {wrong}")).collect::<String>();
        assert!(found.wrong.is_empty(), "{family}: {} wrong:{most}", found.wrong.len());
    }

    /// Exchanges that were answered and are not in the record as delivered.
    fn missing(&self, delivered: &BTreeSet<String>) -> Vec<String> {
        let mut missing = Vec::new();
        runtime().block_on(super::harness::until(async || {
            let record = self.tidegate.record();
            let told: BTreeSet<&str> = record.iter().filter_map(|entry| entry["exchange"].as_str()).collect();
            missing = delivered.iter().filter(|id| !told.contains(id.as_str())).cloned().collect();
            missing.is_empty()
        }));
        missing.into_iter().map(|id| format!("exchange {id} is not in the record")).collect()
    }
}

impl Lane {
    fn run_frames(&self, number: usize, case: &Framed, canaries: &Canaries, found: &mut Found) -> Result<(), String> {
        let nonce = format!("case-{number}");
        let fill = |text: &str| text.replace("@key@", &self.key).replace("@nonce@", &nonce);
        self.far.says(plant(&Says::Each(json(r#"{"open":"yes","secret":"<secret>"}"#)), canaries));
        let heard = frames::talk(self.near, &(case.frames)(&fill), case.until)?;
        found.shown.extend_from_slice(&heard.bytes);
        let reached = ours(self.far.heard()?, &nonce);
        let said: Vec<String> = reached.iter().map(ToString::to_string).collect();
        if !(said == case.reaches || case.reaches == ["*"]) {
            return Err(format!("the upstream got {said:?} instead of {:?}", case.reaches));
        }
        if !case.rows.split(" | ").any(|row| row == heard.row()) {
            return Err(format!("the partner got {} instead of {}", heard.row(), case.rows));
        }
        sound(&Reading { messages: Vec::new(), ends: Vec::new(), end: End::Open }, &reached, &heard.bytes, canaries)?;
        self.serves_still(&nonce, found)
    }

    fn run(&self, number: usize, case: &Case, canaries: &Canaries, found: &mut Found) -> Result<(), String> {
        let nonce = format!("case-{number}");
        let sends = fill(&case.sends, &self.key, &nonce);
        let read = reading::requests(&sends);
        self.far.says(plant(&case.says, canaries));
        let got = self.exchange(&sends, !matches!(read.end, End::Closed | End::Wrong(_)))?;
        found.shown.extend_from_slice(&got);
        found.shown.push(b'\n');
        let answers = answers(&got, &read)?;
        let reached = ours(self.far.heard()?, &nonce);
        reaches(&case.reaches, &reached, &read)?;
        gets(&case.gets, &answers, &read, &got)?;
        sound(&answers, &reached, &got, canaries)?;
        for answer in answers.messages.iter().filter(|answer| answer.status() == 200) {
            found.delivered.insert(answer.field("tidegate-exchange").to_owned());
        }
        self.serves_still(&nonce, found)
    }

    /// Sends bytes, hangs up its half if the other side would wait for more, and reads to the end.
    fn exchange(&self, sends: &[u8], hangs_up: bool) -> Result<Vec<u8>, String> {
        let mut stream = TcpStream::connect(self.near).map_err(|error| format!("not accepted: {error}"))?;
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        // The program may answer and close before everything is written.
        let _ = stream.write_all(sends);
        if hangs_up {
            let _ = stream.shutdown(Shutdown::Write);
        }
        let (mut got, mut piece) = (Vec::new(), [0; 16 * 1024]);
        loop {
            match stream.read(&mut piece) {
                Ok(0) => return Ok(got),
                Ok(count) => got.extend_from_slice(&piece[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return Ok(got),
                Err(error) => {
                    return Err(format!("neither answered nor closed ({error}), got: {}", got.escape_ascii()));
                }
            }
        }
    }

    /// A good request, over a connection of its own, gets its own answer.
    fn serves_still(&self, nonce: &str, found: &mut Found) -> Result<(), String> {
        let sends =
            fill(b"GET /v1/items HTTP/1.1\r\n@auth@connection: close\r\n\r\n", &self.key, &format!("{nonce}-after"));
        self.far.says(plant(&Says::Each(json(&format!("{{\"open\":\"{nonce}\"}}"))), &Canaries::default()));
        let got = self.exchange(&sends, false)?;
        let answers = reading::answers(&got, &[]);
        let [answer] = &answers.messages[..] else { return Err(format!("afterwards: {}", got.escape_ascii())) };
        let right = answer.to_string() == format!("200 OK {{\"open\":\"{nonce}\"}}");
        found.delivered.insert(answer.field("tidegate-exchange").to_owned());
        if right { Ok(()) } else { Err(format!("afterwards: {}", got.escape_ascii())) }
    }
}

/// What stands for what: `@auth@` the fields that make a request one of the partner's; `@get@` the beginning of a request that is
/// answered with 200, up to its fields; `@post@` the same of one with a body; `@end@` a request after which the connection is closed.
pub fn fill(template: &[u8], key: &str, nonce: &str) -> Vec<u8> {
    let auth = format!("host: localhost\r\nx-api-key: {key}\r\nidempotency-key: {nonce}\r\n");
    let replacements = [
        ("@get@", "GET /v1/items HTTP/1.1\r\n@auth@"),
        ("@post@", "POST /v1/items HTTP/1.1\r\n@auth@content-type: application/json\r\n"),
        ("@end@", "GET /v1/victim HTTP/1.1\r\n@auth@connection: close\r\n\r\n"),
        ("@auth@", &auth),
        ("@key@", key),
    ];
    let mut filled = template.to_vec();
    for (word, text) in replacements {
        while let Some(at) = memchr::memmem::find(&filled, word.as_bytes()) {
            filled.splice(at..at + word.len(), text.bytes());
        }
    }
    filled
}

/// A whole answer with a JSON body. `@length@` is the body's, when it has been planted
/// (`@last@`: of the last body of several; `@first@`: up to its first closing brace).
pub fn json(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: @length@\r\n\r\n{body}").into_bytes()
}

fn plant(says: &Says, canaries: &Canaries) -> Says {
    // Bytes that are no text carry nothing that was planted.
    let plant = |bytes: &Vec<u8>| match std::str::from_utf8(bytes) {
        Ok(text) => {
            let text = canaries.plant(text);
            let length = text.split_once("\r\n\r\n").map_or(0, |(_, body)| body.len());
            let last = text.rsplit_once("\r\n\r\n").map_or(0, |(_, body)| body.len());
            let first = text.split_once("\r\n\r\n").map_or(0, |(_, body)| body.find('}').map_or(0, |end| end + 1));
            let words = [("@length@", length), ("@last@", last), ("@first@", first)];
            words.into_iter().fold(text, |text, (word, bytes)| text.replace(word, &bytes.to_string())).into_bytes()
        }
        Err(_) => bytes.clone(),
    };
    match says {
        Says::Each(bytes) => Says::Each(plant(bytes)),
        Says::Once(bytes) => Says::Once(plant(bytes)),
        Says::Early(bytes) => Says::Early(plant(bytes)),
        Says::AtHead(bytes, closes) => Says::AtHead(plant(bytes), *closes),
        Says::Turns(turns) => Says::Turns(turns.iter().map(plant).collect()),
    }
}

/// What the partner got, as answers to what it sent.
fn answers(got: &[u8], read: &Reading) -> Result<Reading, String> {
    let methods: Vec<String> =
        read.messages.iter().map(|message| message.start.split(' ').next().unwrap_or_default().to_owned()).collect();
    let answers = reading::answers(got, &methods);
    match answers.end {
        End::Wrong(why) => Err(format!("the partner got {why}: {}", got.escape_ascii())),
        _ => Ok(answers),
    }
}

/// Without what a case before has sent and given up.
fn ours(reached: Vec<Message>, nonce: &str) -> Vec<Message> {
    let late = |message: &Message| !["", nonce].contains(&message.field("idempotency-key"));
    reached.into_iter().filter(|message| !late(message)).collect()
}

fn reaches(expected: &Reaches, reached: &[Message], read: &Reading) -> Result<(), String> {
    let reached: Vec<String> = reached.iter().map(ToString::to_string).collect();
    // A query without pairs is none.
    let sent: Vec<String> = read.messages.iter().map(|message| message.to_string().replacen("? ", " ", 1)).collect();
    let right = match expected {
        Reaches::Exactly(these) => reached == *these,
        // One that may be repeated is, if its connection ends under it.
        Reaches::All => {
            reached == sent
                || matches!((&reached[..], &sent[..]), ([a, b], [c]) if a == b && b == c && a.starts_with("GET"))
        }
        Reaches::OfThose => {
            let mut sent = sent.iter();
            reached.iter().all(|one| sent.any(|other| other == one))
        }
    };
    if right { Ok(()) } else { Err(format!("the upstream got {reached:?}, of {sent:?} ({:?})", read.end)) }
}

fn gets(expected: &Gets, answers: &Reading, read: &Reading, got: &[u8]) -> Result<(), String> {
    let statuses: Vec<String> = answers.messages.iter().map(|answer| answer.status().to_string()).collect();
    let mut row = statuses.join(" ");
    if answers.end == End::Cut {
        row = format!("{row} cut").trim().to_owned();
    } else if row.is_empty() {
        row = "-".to_owned();
    }
    let right = match expected {
        Gets::Rows(rows) => rows.split(" | ").any(|expected| expected == row),
        // A request that is broken off, or wrong, has at most one answer, and none that is good.
        Gets::Sound => {
            let good = |answer: &Message| (200..300).contains(&answer.status());
            let (whole, all) = (read.messages.len(), &answers.messages);
            all.len() <= whole + 1 && all.iter().skip(whole).all(|answer| !good(answer)) && answers.end != End::Cut
        }
    };
    let wanted = match expected {
        Gets::Rows(rows) => (*rows).to_owned(),
        Gets::Sound => format!("{} answers and an error at most", read.messages.len()),
    };
    if right { Ok(()) } else { Err(format!("the partner got {row} instead of {wanted}: {}", got.escape_ascii())) }
}

/// What holds always.
fn sound(answers: &Reading, reached: &[Message], got: &[u8], canaries: &Canaries) -> Result<(), String> {
    for answer in &answers.messages {
        let interim = answer.status() == 100;
        let reason = http::StatusCode::from_u16(answer.status()).ok().and_then(|status| status.canonical_reason());
        if answer.start.get(4..) != reason.or(Some("<none>")) {
            return Err(format!("a reason that is not ours: {}", answer.start));
        }
        for (name, _) in answer.fields.iter().chain(&answer.trailers) {
            if !OURS.contains(&name.as_str()) || interim {
                return Err(format!("the partner got the field `{name}`"));
            }
        }
        let bare = answer.body.is_empty() && answer.status() >= 400;
        if !interim && !bare && answer.field("tidegate-exchange").len() != 26 {
            return Err(format!("an answer without its exchange: {answer}"));
        }
    }
    for request in reached {
        for (name, _) in request.fields.iter().chain(&request.trailers) {
            if !THEIRS.contains(&name.as_str()) {
                return Err(format!("the upstream got the field `{name}`"));
            }
        }
        if request.fields.iter().any(|(_, value)| value.contains("<caller>")) {
            return Err(format!("the upstream was shown <caller>: {request:?}"));
        }
        if !request.trailers.is_empty() || request.all("host").len() != 1 {
            return Err(format!("the upstream got {request:?}"));
        }
    }
    let lower = got.to_ascii_lowercase();
    for (label, canary) in canaries.all() {
        if memchr::memmem::find(&lower, canary.value.to_ascii_lowercase().as_bytes()).is_some() {
            return Err(format!("the partner was shown <{label}>"));
        }
    }
    Ok(())
}
