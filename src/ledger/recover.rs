//! What start-up finds in the folder, and how it mends it.
//!
//! Reads the newest segment whole and the end of every other; sets aside what stands after the last whole line. Never
//! changes a line that is whole. Start at [`mend`].

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;

use serde::Deserialize;

use super::segment::{Disk, Name};

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The newest segment and its bytes, to go on with.
    pub last: Option<(Name, u64)>,
    /// The newest segment in which something stands.
    pub previous: Option<Name>,
    /// Bytes that were set aside.
    pub torn_bytes: u64,
    /// Lines of the newest segment, before its last whole one, that cannot be read.
    pub damaged_lines: u64,
    /// Exchanges that were opened and never closed, since the last start told of them.
    pub unclosed: Vec<String>,
    /// No record yet, or its last line says that it was stopped in order.
    pub orderly: bool,
    /// The last run promised `batched`: within how many milliseconds.
    pub batched_ms: Option<u64>,
}

/// A line, as far as start-up needs it.
#[derive(Deserialize)]
struct Line {
    kind: String,
    exchange: Option<String>,
    open: Option<Vec<String>>,
    durability: Option<String>,
    within_ms: Option<u64>,
}

/// Reads and mends. After an error nothing may be appended.
pub(super) fn mend(disk: &Disk) -> Result<Found, String> {
    let names = disk.segments().map_err(|error| format!("cannot list segments: {error}"))?;
    let mut found = Found { orderly: true, ..Found::default() };
    // A segment in which no line is whole was made by a run that did not get to write into it: what counts stands before.
    let mut told_all = false;
    for name in names.iter().rev() {
        let told = |error: io::Error| format!("`{name}`: {error}");
        let path = disk.path(*name);
        let whole = if told_all { whole_lines(&path) } else { read(&path, &mut found) }.map_err(told)?;
        found.torn_bytes += set_aside(disk, *name, whole).map_err(told)?;
        if found.last.is_none() {
            // Whole lines that the last run did not get to sync are about to be told of: they must not vanish after that.
            File::open(&path).and_then(|file| file.sync_all()).map_err(told)?;
            found.last = Some((*name, whole));
        }
        if whole > 0 {
            found.previous.get_or_insert(*name);
        }
        told_all |= whole > 0;
    }
    Ok(found)
}

/// Bytes up to the last newline.
fn whole_lines(path: &std::path::Path) -> io::Result<u64> {
    let mut file = File::open(path)?;
    let mut end = file.seek(SeekFrom::End(0))?;
    let mut block = vec![0; 64 * 1024];
    while end > 0 {
        let size = end.min(block.len() as u64);
        let part = block.get_mut(..usize::try_from(size).unwrap_or_default()).unwrap_or_default();
        file.seek(SeekFrom::Start(end - size))?;
        file.read_exact(part)?;
        if let Some(at) = memchr::memrchr(b'\n', part) {
            return Ok(end - size + at as u64 + 1);
        }
        end -= size;
    }
    Ok(0)
}

/// Reads a whole segment; returns the bytes up to the end of its last whole line.
fn read(path: &std::path::Path, found: &mut Found) -> io::Result<u64> {
    let mut file = BufReader::with_capacity(256 * 1024, File::open(path)?);
    let mut unclosed = std::collections::BTreeSet::new();
    let (mut line, mut at, mut whole, mut unread) = (Vec::new(), 0u64, 0u64, 0u64);
    found.orderly = false;
    loop {
        line.clear();
        let bytes = file.read_until(b'\n', &mut line)? as u64;
        if bytes == 0 {
            break;
        }
        at += bytes;
        let parsed = line.strip_suffix(b"\n").and_then(|line| serde_json::from_slice::<Line>(line).ok());
        let Some(Line { kind, exchange, open, durability, within_ms }) = parsed else {
            unread += 1;
            continue;
        };
        whole = at;
        found.damaged_lines += std::mem::take(&mut unread);
        found.orderly = kind == "stop";
        match kind.as_str() {
            "open" => unclosed.extend(exchange),
            "close" => {
                unclosed.remove(&exchange.unwrap_or_default());
            }
            "segment" => unclosed = open.unwrap_or_default().into_iter().collect(),
            "start" => unclosed.clear(),
            _ => {}
        }
        match durability.as_deref() {
            Some("batched") => found.batched_ms = Some(within_ms.unwrap_or_default()),
            Some(_) => found.batched_ms = None,
            None => {}
        }
    }
    found.unclosed = unclosed.into_iter().collect();
    Ok(whole)
}

/// Copies what stands after `whole` bytes into `….torn` and cuts it off. The copy is durable before the cut.
fn set_aside(disk: &Disk, name: Name, whole: u64) -> io::Result<u64> {
    let path = disk.path(name);
    let torn = path.metadata()?.len().saturating_sub(whole);
    if torn == 0 {
        return Ok(0);
    }
    let mut segment = OpenOptions::new().read(true).write(true).open(&path)?;
    segment.seek(SeekFrom::Start(whole))?;
    let mut aside = path.into_os_string();
    aside.push(".torn");
    let mut aside = OpenOptions::new().create(true).append(true).mode(0o600).open(aside)?;
    io::copy(&mut segment, &mut aside)?;
    aside.flush()?;
    aside.sync_all()?;
    segment.set_len(whole)?;
    segment.sync_all()?;
    Ok(torn)
}
