//! A file that holds what a store keeps, sealed: the format of `docs/archive.md`.
//!
//! A head, parts of entries, and an end that says how many there are and what they are together. Each part is sealed, and bound to the
//! archive, its place, and whether it is the end. Start at [`Writer`] and [`read`].

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::keys::Key;
use crate::secret::Secret;

use super::super::seal::gcm;
use super::super::seal::pseudonym::KeyedHash;
use super::super::store::{Entry, TokenId, row};
use super::Tally;

const MAGIC: [u8; 16] = *b"tidegate vault 1";
const HEAD_LEN: u64 = 32;
/// Kind, length and salt of a part.
const PART_HEAD: u64 = 1 + 4 + SALT_LEN as u64;
/// A part ends when it has so many bytes.
const PART: usize = 1 << 20;
/// What a part's own key is made of, random: whatever was sealed in its place before, by a run that was cut off, has another.
const SALT_LEN: usize = 16;
/// Longest part that is read: one entry may be of 16 MiB, and many persons'.
const PART_MAX: u32 = 64 << 20;
/// What a part begins with.
const ENTRIES: u8 = 0;
const END: u8 = 1;

/// What is wrong with an archive, or with its file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system said no.
    #[error("the archive: {0}")]
    Io(#[from] io::Error),
    /// It does not begin like one.
    #[error("this is no archive of a vault, or one of a newer program")]
    NotOne,
    /// Its first part does not open.
    #[error("the archive does not open: it was made with another root key, or its beginning is damaged")]
    Foreign,
    /// A part does not open.
    #[error("the archive is damaged in part {0}: it is not as it was written")]
    Damaged(u64),
    /// There is no end.
    #[error("the archive ends after part {0}, before its end: it was not written or copied to the end")]
    Cut(u64),
    /// What stands there is not what was counted.
    #[error("the archive does not hold what its end says")]
    Digest,
}

/// Writes one.
#[derive(Debug)]
pub struct Writer {
    file: File,
    key: Secret<[u8; 32]>,
    number: u64,
    part: Vec<u8>,
    tally: Tally,
}

impl Writer {
    /// Begins one, or goes on behind what an earlier run has written whole; then its last token is given.
    ///
    /// # Errors
    /// The file cannot be written, or is something else.
    pub fn open(path: &Path, key: &Key) -> Result<(Self, Option<TokenId>), Error> {
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        if file.metadata()?.len() > HEAD_LEN {
            let (mut parts, mut last, mut tally) = (Parts::open(&file, key)?, None, Tally::default());
            let (mut whole, mut number) = (HEAD_LEN, 0);
            loop {
                match parts.next() {
                    Ok(Some(Part::Entries(entries))) => {
                        tally.extend(&entries);
                        last = entries.last().map(|entry| entry.token).or(last);
                        (whole, number) = (parts.at, parts.number);
                    }
                    // Something else's file is not written over.
                    Err(error @ (Error::Foreign | Error::Io(_))) => return Err(error),
                    Ok(_) | Err(_) => break,
                }
            }
            if last.is_some() {
                let key = parts.key;
                file.set_len(whole)?;
                file.seek(SeekFrom::Start(whole))?;
                return Ok((Self { file, key, number, part: Vec::new(), tally }, last));
            }
        }
        let mut archive = [0; 16];
        getrandom::fill(&mut archive).map_err(io::Error::other)?;
        file.set_len(0)?;
        file.rewind()?;
        file.write_all(&[MAGIC, archive].concat())?;
        let key = key_of(key, &archive);
        Ok((Self { file, key, number: 0, part: Vec::new(), tally: Tally::default() }, None))
    }

    /// Adds entries.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn add(&mut self, entries: &[Entry]) -> Result<(), Error> {
        for entry in entries {
            self.tally.add(entry);
            encode(entry, &mut self.part);
            if self.part.len() >= PART {
                let part = std::mem::take(&mut self.part);
                self.write(ENTRIES, part)?;
            }
        }
        Ok(())
    }

    /// Ends it, durably, and says what is in it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn finish(mut self) -> Result<Tally, Error> {
        let part = std::mem::take(&mut self.part);
        if !part.is_empty() {
            self.write(ENTRIES, part)?;
        }
        let end = [&self.tally.entries.to_be_bytes()[..], &self.tally.digest].concat();
        self.write(END, end)?;
        self.file.sync_all()?;
        Ok(self.tally)
    }

    fn write(&mut self, kind: u8, mut part: Vec<u8>) -> Result<(), Error> {
        let mut salt = [0; SALT_LEN];
        getrandom::fill(&mut salt).map_err(io::Error::other)?;
        gcm::seal(of_part(&self.key, &salt).expose_secret(), &context(self.number, kind), &mut part);
        let length = u32::try_from(part.len()).ok().filter(|length| *length <= PART_MAX);
        let length = length.ok_or_else(|| io::Error::from(ErrorKind::FileTooLarge))?;
        self.file.write_all(&[&[kind][..], &length.to_be_bytes(), &salt, &part].concat())?;
        self.number += 1;
        Ok(())
    }
}

/// Reads one to its end, and gives what each part holds; what is in it is said at the end and checked. The parts up to one that is
/// damaged have been given by then: read it once to know that it is whole.
///
/// # Errors
/// See [`Error`], and what `each` says.
pub fn read<E: From<Error>>(
    path: &Path,
    key: &Key,
    mut each: impl FnMut(Vec<Entry>) -> Result<(), E>,
) -> Result<Tally, E> {
    let file = File::open(path).map_err(Error::Io)?;
    let (mut parts, mut tally) = (Parts::open(&file, key)?, Tally::default());
    loop {
        let part = parts.next()?;
        match part {
            Some(Part::Entries(entries)) => {
                tally.extend(&entries);
                each(entries)?;
            }
            Some(Part::End(said)) => {
                if parts.next()?.is_some() {
                    return Err(Error::Damaged(parts.number).into());
                }
                return if said == tally { Ok(tally) } else { Err(Error::Digest.into()) };
            }
            None => return Err(Error::Cut(parts.number).into()),
        }
    }
}

enum Part {
    Entries(Vec<Entry>),
    End(Tally),
}

struct Parts<'f> {
    input: BufReader<&'f File>,
    key: Secret<[u8; 32]>,
    number: u64,
    /// Where the next one begins.
    at: u64,
}

impl<'f> Parts<'f> {
    fn open(file: &'f File, key: &Key) -> Result<Self, Error> {
        let (mut input, mut head) = (BufReader::new(file), [[0; 16]; 2]);
        match input.read_exact(head.as_flattened_mut()) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Err(Error::NotOne),
            other => other?,
        }
        let [magic, archive] = head;
        if magic != MAGIC {
            return Err(Error::NotOne);
        }
        Ok(Self { input, key: key_of(key, &archive), number: 0, at: HEAD_LEN })
    }

    /// `None`: there is none.
    fn next(&mut self) -> Result<Option<Part>, Error> {
        let mut head = Vec::new();
        self.input.by_ref().take(PART_HEAD).read_to_end(&mut head)?;
        if head.is_empty() {
            return Ok(None);
        }
        let Some((&[kind, a, b, c, d], salt)) = head.split_first_chunk() else { return Err(Error::Cut(self.number)) };
        let Ok(salt) = <[u8; SALT_LEN]>::try_from(salt) else { return Err(Error::Cut(self.number)) };
        let length = u32::from_be_bytes([a, b, c, d]);
        let damaged = if self.number == 0 { Error::Foreign } else { Error::Damaged(self.number) };
        if length > PART_MAX {
            return Err(damaged);
        }
        let mut part = Vec::new();
        self.input.by_ref().take(u64::from(length)).read_to_end(&mut part)?;
        if part.len() < length as usize {
            return Err(Error::Cut(self.number));
        }
        if !gcm::open(of_part(&self.key, &salt).expose_secret(), &context(self.number, kind), &mut part) {
            return Err(damaged);
        }
        let part = match kind {
            ENTRIES => decode(&part).map(Part::Entries),
            END => end(&part).map(Part::End),
            _ => None,
        };
        let part = part.ok_or(Error::Damaged(self.number))?;
        self.number += 1;
        self.at += PART_HEAD + u64::from(length);
        Ok(Some(part))
    }
}

/// Of one archive.
fn key_of(key: &Key, archive: &[u8; 16]) -> Secret<[u8; 32]> {
    Secret::new(KeyedHash::new(key.expose_secret()).digest(&[b"tidegate/1 archive", archive]))
}

/// Of one part.
fn of_part(archive: &Secret<[u8; 32]>, salt: &[u8; SALT_LEN]) -> Secret<[u8; 32]> {
    Secret::new(KeyedHash::new(archive.expose_secret()).digest(&[b"tidegate/1 part", salt]))
}

fn context(number: u64, kind: u8) -> [u8; 16] {
    let mut context = [0; 16];
    let bytes = number.to_be_bytes().into_iter().chain([kind]);
    context.iter_mut().zip(bytes).for_each(|(slot, byte)| *slot = byte);
    context
}

/// Length, token, number of subjects, subjects, and a row without them.
fn encode(entry: &Entry, out: &mut Vec<u8>) {
    let bare = Entry { subjects: Vec::new(), ..entry.clone() };
    let row = row::encode(&bare, false);
    let length = |count: usize| u32::try_from(count).unwrap_or(u32::MAX).to_be_bytes();
    out.extend(length(16 + 4 + 16 * entry.subjects.len() + row.len()));
    out.extend(entry.token);
    out.extend(length(entry.subjects.len()));
    out.extend(entry.subjects.as_flattened());
    out.extend(row);
}

fn decode(mut part: &[u8]) -> Option<Vec<Entry>> {
    let mut entries = Vec::new();
    while !part.is_empty() {
        let (length, rest) = part.split_first_chunk()?;
        let (one, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        part = rest;
        let (token, one) = one.split_first_chunk()?;
        let (count, one) = one.split_first_chunk()?;
        let (subjects, row) = one.split_at_checked((u32::from_be_bytes(*count) as usize).checked_mul(16)?)?;
        let entry = row::decode(*token, row)?.entry;
        entries.push(Entry { subjects: subjects.as_chunks().0.to_vec(), ..entry });
    }
    Some(entries)
}

fn end(part: &[u8]) -> Option<Tally> {
    let (entries, digest) = part.split_first_chunk()?;
    Some(Tally { entries: u64::from_be_bytes(*entries), digest: digest.try_into().ok()? })
}
