//! What an entry says, and how it looks as a line.
//!
//! The shape of every line is told to readers in `docs/record.md`. Not here: when a line is written, and where. Start at
//! [`Open`] and [`Close`], then `exchange_line`.

use std::borrow::Cow;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Time;
use crate::ids::{Direction, DomainId, ExchangeId, Leg, PartnerId, RuleId};
use crate::verdict::Outcome;

use super::{Durability, Report};

/// The half that is written before anything leaves.
#[derive(Clone, Debug)]
pub struct Open {
    /// Which exchange.
    pub exchange: ExchangeId,
    /// When.
    pub time: Time,
    /// To whom, what for, under which policy.
    pub of: Arc<Disclosure>,
}

/// What the entries of a route have in common, ready to be written.
#[derive(Debug)]
pub struct Disclosure(Vec<u8>);

impl Disclosure {
    /// `route`: its pattern, never the path. `direction`: who calls. `policy`: its digest. The leg is the one that leaves.
    #[must_use]
    pub fn new(partner: &PartnerId, route: &str, direction: Direction, policy: &str) -> Self {
        let mut members = Vec::new();
        for (name, value) in [
            ("partner", partner.as_str()),
            ("route", route),
            ("direction", direction.as_str()),
            ("leg", Leg::disclosing(direction).as_str()),
            ("policy", policy),
        ] {
            members.extend_from_slice(b",\"");
            members.extend_from_slice(name.as_bytes());
            members.extend_from_slice(b"\":");
            string(&mut members, value);
        }
        Self(members)
    }
}

/// The half that says what became of it.
#[derive(Clone, Debug)]
pub struct Close<'a> {
    /// How often each rule decided; only those that did, each once.
    pub rules: Cow<'a, [(RuleId, u64)]>,
    /// Bytes of the body before the rules, un-coded.
    pub bytes_in: u64,
    /// Bytes of the body after the rules, before any coding.
    pub bytes_out: u64,
    /// The status of the response, 0 for a request leg.
    pub status: u16,
    /// How it ended.
    pub outcome: Outcome,
}

/// Tokens that one domain issued, and that another domain's partner sent.
#[derive(Clone, Debug)]
pub struct Foreign {
    /// In which exchange.
    pub exchange: ExchangeId,
    /// When it began.
    pub time: Time,
    /// Who sent them.
    pub partner: PartnerId,
    /// The route's pattern, never the path.
    pub route: Arc<str>,
    /// Who called.
    pub direction: Direction,
    /// The domain that issued them.
    pub issuer: DomainId,
    /// How many, at least.
    pub count: u64,
}

/// Much of a partner's budget is used up, or something was refused over it.
#[derive(Clone, Debug)]
pub struct Budget {
    /// In which exchange.
    pub exchange: ExchangeId,
    /// When it began.
    pub time: Time,
    /// Whose.
    pub partner: PartnerId,
    /// The route's pattern, never the path.
    pub route: Arc<str>,
    /// Who called.
    pub direction: Direction,
    /// What is counted: `tokens` or `subjects`.
    pub budget: &'static str,
    /// How many in the last hour.
    pub count: u64,
    /// How many there may be.
    pub limit: u64,
    /// Whether something was refused.
    pub refused: bool,
}

/// An operator has tokens turned back, outside of traffic.
#[derive(Clone, Debug)]
pub struct Reveal {
    /// When.
    pub time: Time,
    /// `asked`, `approved` or `revealed`.
    pub act: &'static str,
    /// The request, where two operators are needed.
    pub request: Option<String>,
    /// Who asked.
    pub operator: String,
    /// Who approved.
    pub approver: Option<String>,
    /// Why.
    pub reason: String,
    /// Whose tokens.
    pub partner: String,
    /// Of which category.
    pub category: String,
    /// Of which shape, where that was said.
    pub shape: Option<&'static str>,
    /// SHA-256 of each token as it was given, hex. No value.
    pub tokens: Vec<String>,
}

/// The `reveal` line.
pub(super) fn reveal_line(out: &mut Vec<u8>, reveal: &Reveal) {
    begin(out, "reveal");
    time_member(out, reveal.time);
    let members = [
        ("act", Some(reveal.act)),
        ("request", reveal.request.as_deref()),
        ("operator", Some(&*reveal.operator)),
        ("approver", reveal.approver.as_deref()),
        ("reason", Some(&*reveal.reason)),
        ("partner", Some(&*reveal.partner)),
        ("category", Some(&*reveal.category)),
        ("as", reveal.shape),
    ];
    for (name, text) in members {
        let Some(text) = text else { continue };
        let _ = write!(out, ",\"{name}\":");
        string(out, text);
    }
    out.extend_from_slice(b",\"tokens\":[");
    strings(out, reveal.tokens.iter().map(String::as_str));
    out.extend_from_slice(b"]}\n");
}

/// The `budget` line.
pub(super) fn budget_line(out: &mut Vec<u8>, budget: &Budget) {
    begin(out, "budget");
    event(out, budget.exchange, budget.time, &budget.partner, &budget.route, budget.direction);
    let Budget { budget, count: used, limit, refused, .. } = budget;
    let _ = writeln!(out, ",\"budget\":\"{budget}\",\"used\":{used},\"limit\":{limit},\"refused\":{refused}}}");
}

/// Of something that happened in an exchange.
fn event(out: &mut Vec<u8>, exchange: ExchangeId, time: Time, partner: &PartnerId, route: &str, direction: Direction) {
    out.extend_from_slice(b",\"exchange\":\"");
    out.extend_from_slice(&exchange.to_ascii());
    out.push(b'"');
    time_member(out, time);
    out.extend_from_slice(b",\"partner\":");
    string(out, partner.as_str());
    out.extend_from_slice(b",\"route\":");
    string(out, route);
    out.extend_from_slice(b",\"direction\":");
    string(out, direction.as_str());
}

/// The `foreign` line.
pub(super) fn foreign_line(out: &mut Vec<u8>, foreign: &Foreign) {
    begin(out, "foreign");
    event(out, foreign.exchange, foreign.time, &foreign.partner, &foreign.route, foreign.direction);
    out.extend_from_slice(b",\"issuer\":");
    string(out, foreign.issuer.as_str());
    out.extend_from_slice(b",\"count\":");
    number(out, foreign.count);
    out.extend_from_slice(b"}\n");
}

/// The `open` line.
pub(super) fn open_line(out: &mut Vec<u8>, open: &Open) {
    open_half(out, "open", open);
    out.extend_from_slice(b"}\n");
}

/// The `close` line.
pub(super) fn close_line(out: &mut Vec<u8>, exchange: ExchangeId, time: Time, close: &Close<'_>) {
    begin(out, "close");
    out.extend_from_slice(b",\"exchange\":\"");
    out.extend_from_slice(&exchange.to_ascii());
    out.push(b'"');
    time_member(out, time);
    close_half(out, close);
    out.extend_from_slice(b"}\n");
}

/// The `exchange` line: both halves.
pub(super) fn exchange_line(out: &mut Vec<u8>, open: &Open, close: &Close<'_>) {
    open_half(out, "exchange", open);
    close_half(out, close);
    out.extend_from_slice(b"}\n");
}

/// The first line of a segment: which one went before, what is promised, and which exchanges are open from before, so
/// that a segment can be read alone.
pub(super) fn segment_line(
    out: &mut Vec<u8>,
    time: Time,
    previous: Option<&str>,
    durability: Durability,
    open: impl Iterator<Item = ExchangeId>,
) {
    begin(out, "segment");
    time_member(out, time);
    if let Some(previous) = previous {
        out.extend_from_slice(b",\"previous\":");
        string(out, previous);
    }
    durability_members(out, durability);
    out.extend_from_slice(b",\"open\":[");
    for (at, exchange) in open.enumerate() {
        out.extend_from_slice(if at == 0 { b"\"" } else { b",\"" });
        out.extend_from_slice(&exchange.to_ascii());
        out.push(b'"');
    }
    out.extend_from_slice(b"]}\n");
}

/// The `start` line: what was found.
pub(super) fn start_line(
    out: &mut Vec<u8>,
    time: Time,
    durability: Durability,
    report: &Report,
    orderly: bool,
    unclosed: &[String],
) {
    begin(out, "start");
    time_member(out, time);
    durability_members(out, durability);
    let _ = write!(
        out,
        ",\"orderly\":{orderly},\"torn_bytes\":{},\"damaged_lines\":{},\"maybe_lost\":{},\"maybe_lost_ms\":{},\"unclosed\":[",
        report.torn_bytes, report.damaged_lines, report.maybe_lost, report.maybe_lost_ms
    );
    strings(out, unclosed.iter().map(String::as_str));
    out.extend_from_slice(b"]}\n");
}

/// The `stop` line: everything that was queued is written.
pub(super) fn stop_line(out: &mut Vec<u8>, time: Time, unclosed: usize) {
    begin(out, "stop");
    time_member(out, time);
    let _ = writeln!(out, ",\"unclosed\":{unclosed}}}");
}

/// What went wrong before a `recovered` line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Gap {
    /// Entries that were refused, and with them what they would have recorded.
    pub refused: u64,
    /// Segments whose tail could not be cut back: they may hold entries that were refused.
    pub uncut: Vec<String>,
    /// Entries were acknowledged (`batched`) that may not have reached the disk.
    pub maybe_lost: bool,
}

impl Gap {
    /// Most segments that are named in `uncut`; the log names all.
    pub(super) const UNCUT_MAX: usize = 100;
}

/// The `recovered` line: the record could not be written for a while.
pub(super) fn recovered_line(out: &mut Vec<u8>, time: Time, gap: &Gap) {
    begin(out, "recovered");
    time_member(out, time);
    let _ = write!(out, ",\"refused\":{},\"maybe_lost\":{},\"uncut\":[", gap.refused, gap.maybe_lost);
    strings(out, gap.uncut.iter().map(String::as_str));
    out.extend_from_slice(b"]}\n");
}

fn begin(out: &mut Vec<u8>, kind: &str) {
    out.extend_from_slice(b"{\"v\":1,\"kind\":\"");
    out.extend_from_slice(kind.as_bytes());
    out.push(b'"');
}

fn open_half(out: &mut Vec<u8>, kind: &str, open: &Open) {
    begin(out, kind);
    out.extend_from_slice(b",\"exchange\":\"");
    out.extend_from_slice(&open.exchange.to_ascii());
    out.push(b'"');
    time_member(out, open.time);
    out.extend_from_slice(&open.of.0);
}

fn close_half(out: &mut Vec<u8>, close: &Close<'_>) {
    out.extend_from_slice(b",\"rules\":{");
    for (at, (rule, count)) in close.rules.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        string(out, rule.as_str());
        out.push(b':');
        number(out, *count);
    }
    out.extend_from_slice(b"},\"bytes_in\":");
    number(out, close.bytes_in);
    out.extend_from_slice(b",\"bytes_out\":");
    number(out, close.bytes_out);
    out.extend_from_slice(b",\"status\":");
    number(out, u64::from(close.status));
    out.extend_from_slice(b",\"outcome\":\"");
    out.extend_from_slice(close.outcome.as_str().as_bytes());
    out.push(b'"');
}

fn durability_members(out: &mut Vec<u8>, durability: Durability) {
    match durability {
        Durability::Strict => out.extend_from_slice(b",\"durability\":\"strict\""),
        Durability::Batched(within) => {
            let _ = write!(out, ",\"durability\":\"batched\",\"within_ms\":{}", millis(within));
        }
    }
}

/// Whole milliseconds, rounded up: a promise must not be told smaller than it is.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

/// A JSON string (RFC 8259, section 7).
fn string(out: &mut Vec<u8>, text: &str) {
    let plain = |byte: u8| byte >= 0x20 && byte != b'"' && byte != b'\\';
    out.push(b'"');
    // Looked at to the end: without a way out the loop is done on many bytes at a time.
    if text.bytes().fold(true, |all, byte| all & plain(byte)) {
        out.extend_from_slice(text.as_bytes());
    } else {
        for byte in text.bytes() {
            if plain(byte) {
                out.push(byte);
            } else {
                let _ = write!(out, "\\u{byte:04x}");
            }
        }
    }
    out.push(b'"');
}

fn strings<'a>(out: &mut Vec<u8>, texts: impl Iterator<Item = &'a str>) {
    for (at, text) in texts.enumerate() {
        if at > 0 {
            out.push(b',');
        }
        string(out, text);
    }
}

fn number(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [b'0'; 20];
    let mut used = 0;
    for slot in digits.iter_mut().rev() {
        *slot = b'0' + (value % 10) as u8;
        used += 1;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(digits.len() - used..).unwrap_or_default());
}

/// `,"time":"2026-09-21T14:13:20.123Z"`. By hand, because it is in every line: days since 1970 to year, month, day as
/// in Howard Hinnant's `civil_from_days`, checked against [`Time`]'s own print below.
fn time_member(out: &mut Vec<u8>, time: Time) {
    // The last moment of the year 9999: RFC 3339 has four digits for the year.
    let millis = time.0.min(253_402_300_799_999);
    let (year, month, day) = civil(millis / 86_400_000);
    let (seconds, fraction) = (millis / 1000 % 86_400, millis % 1000);
    out.extend_from_slice(b",\"time\":\"");
    digits::<4>(out, year);
    out.push(b'-');
    digits::<2>(out, month);
    out.push(b'-');
    digits::<2>(out, day);
    out.push(b'T');
    digits::<2>(out, seconds / 3600);
    out.push(b':');
    digits::<2>(out, seconds / 60 % 60);
    out.push(b':');
    digits::<2>(out, seconds % 60);
    out.push(b'.');
    digits::<3>(out, fraction);
    out.extend_from_slice(b"Z\"");
}

/// Year, month and day of a day since 1970.
pub(super) fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let of_era = shifted % 146_097;
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

fn digits<const N: usize>(out: &mut Vec<u8>, mut value: u64) {
    let mut text = [b'0'; N];
    for slot in text.iter_mut().rev() {
        *slot = b'0' + (value % 10) as u8;
        value /= 10;
    }
    out.extend_from_slice(&text);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(write: impl FnOnce(&mut Vec<u8>), expected: &str) {
        let mut out = Vec::new();
        write(&mut out);
        let line = String::from_utf8(out).unwrap();
        assert_eq!(line.strip_suffix('\n').unwrap(), expected);
        serde_json::from_str::<serde_json::Value>(&line).unwrap();
    }

    fn of(route: &str) -> Arc<Disclosure> {
        Arc::new(Disclosure::new(&PartnerId::parse("parcelo").unwrap(), route, Direction::Inbound, "sha256:ab"))
    }

    fn open() -> Open {
        Open {
            exchange: ExchangeId::new(1_790_000_000_123, 7),
            time: Time(1_790_000_000_123),
            of: of("GET /v1/orders/{id}"),
        }
    }

    fn close() -> Close<'static> {
        Close {
            rules: vec![(RuleId::new("customer.email"), 1), (RuleId::new("keep-2"), 12)].into(),
            bytes_in: 1024,
            bytes_out: 0,
            status: 200,
            outcome: Outcome::Delivered,
        }
    }

    #[test]
    fn the_lines_look_as_documented() {
        check(
            |out| open_line(out, &open()),
            r#"{"v":1,"kind":"open","exchange":"01M3250V3V0000000000000007","time":"2026-09-21T14:13:20.123Z","partner":"parcelo","route":"GET /v1/orders/{id}","direction":"inbound","leg":"response","policy":"sha256:ab"}"#,
        );
        check(
            |out| close_line(out, open().exchange, Time(1_790_000_000_124), &close()),
            r#"{"v":1,"kind":"close","exchange":"01M3250V3V0000000000000007","time":"2026-09-21T14:13:20.124Z","rules":{"customer.email":1,"keep-2":12},"bytes_in":1024,"bytes_out":0,"status":200,"outcome":"delivered"}"#,
        );
        check(
            |out| exchange_line(out, &open(), &close()),
            r#"{"v":1,"kind":"exchange","exchange":"01M3250V3V0000000000000007","time":"2026-09-21T14:13:20.123Z","partner":"parcelo","route":"GET /v1/orders/{id}","direction":"inbound","leg":"response","policy":"sha256:ab","rules":{"customer.email":1,"keep-2":12},"bytes_in":1024,"bytes_out":0,"status":200,"outcome":"delivered"}"#,
        );
        check(
            |out| segment_line(out, Time(0), Some("a"), Durability::Strict, [open().exchange].into_iter()),
            r#"{"v":1,"kind":"segment","time":"1970-01-01T00:00:00.000Z","previous":"a","durability":"strict","open":["01M3250V3V0000000000000007"]}"#,
        );
        let report = Report { torn_bytes: 3, unclosed: 1, maybe_lost: true, maybe_lost_ms: 50, damaged_lines: 0 };
        check(
            |out| {
                let within = Durability::Batched(Duration::from_micros(1_200));
                start_line(out, Time(0), within, &report, false, &["X".into()]);
            },
            r#"{"v":1,"kind":"start","time":"1970-01-01T00:00:00.000Z","durability":"batched","within_ms":2,"orderly":false,"torn_bytes":3,"damaged_lines":0,"maybe_lost":true,"maybe_lost_ms":50,"unclosed":["X"]}"#,
        );
        check(
            |out| {
                let Open { exchange, time, .. } = open();
                let (partner, direction) = (PartnerId::parse("parcelo").unwrap(), Direction::Inbound);
                let route = "GET /v1/orders/{id}".into();
                let (budget, count, limit, refused) = ("tokens", 80, 100, false);
                budget_line(out, &Budget { exchange, time, partner, route, direction, budget, count, limit, refused });
            },
            r#"{"v":1,"kind":"budget","exchange":"01M3250V3V0000000000000007","time":"2026-09-21T14:13:20.123Z","partner":"parcelo","route":"GET /v1/orders/{id}","direction":"inbound","budget":"tokens","used":80,"limit":100,"refused":false}"#,
        );
        let reveal = Reveal {
            time: Time(0),
            act: "revealed",
            request: Some("R".into()),
            operator: "anna".into(),
            approver: Some("ben".into()),
            reason: "case \"7\"".into(),
            partner: "parcelo".into(),
            category: "contact.email".into(),
            shape: None,
            tokens: vec!["ab".into(), "cd".into()],
        };
        check(
            |out| reveal_line(out, &reveal),
            r#"{"v":1,"kind":"reveal","time":"1970-01-01T00:00:00.000Z","act":"revealed","request":"R","operator":"anna","approver":"ben","reason":"case \u00227\u0022","partner":"parcelo","category":"contact.email","tokens":["ab","cd"]}"#,
        );
        check(
            |out| stop_line(out, Time(0), 2),
            r#"{"v":1,"kind":"stop","time":"1970-01-01T00:00:00.000Z","unclosed":2}"#,
        );
        let gap = Gap { refused: 5, uncut: vec!["b".into()], maybe_lost: false };
        check(
            |out| recovered_line(out, Time(0), &gap),
            r#"{"v":1,"kind":"recovered","time":"1970-01-01T00:00:00.000Z","refused":5,"maybe_lost":false,"uncut":["b"]}"#,
        );
    }

    proptest! {
        #[test]
        fn every_text_is_valid_json_and_reads_back(route in any::<String>(), rule in any::<String>(), count in any::<u64>()) {
            let mut out = Vec::new();
            let close = Close { rules: vec![(RuleId::new(&rule), count)].into(), ..close() };
            exchange_line(&mut out, &Open { of: of(&route), ..open() }, &close);
            prop_assert_eq!(out.iter().filter(|byte| **byte == b'\n').count(), 1);
            let read: serde_json::Value = serde_json::from_slice(&out).unwrap();
            prop_assert_eq!(read["route"].as_str().unwrap(), route);
            prop_assert_eq!(read["rules"][&rule].as_u64().unwrap(), count);
        }

        #[test]
        fn every_time_is_written_as_it_prints(millis in 0u64..253_402_300_800_000) {
            let mut out = Vec::new();
            time_member(&mut out, Time(millis));
            prop_assert_eq!(String::from_utf8(out).unwrap(), format!(",\"time\":\"{}\"", Time(millis)));
        }
    }
}
