//! What is remembered here of stores on servers: by which mark each is known, so that a start finds out when a server has lost what it
//! kept, or is another one. One small file of lines, `PLACE<TAB>MARK`. Start at [`Memo`].

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The file's name.
const FILE: &str = "marks";

/// Where it is remembered.
#[derive(Clone, Debug)]
pub struct Memo {
    folder: PathBuf,
}

impl Memo {
    /// In this folder, which is made when something is to be remembered.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// The mark of the store at a place, if one was there before. A file that cannot be read is told, and hinders nothing.
    pub(super) fn known(&self, place: &str) -> Option<String> {
        let lines = self.lines().unwrap_or_else(|error| {
            self.warn(&error);
            Vec::new()
        });
        lines.iter().find_map(|line| line.strip_prefix(place)?.strip_prefix('\t').map(str::to_owned))
    }

    /// Remembers it, durably, unless it is known. What cannot be written is told, and hinders nothing.
    pub(super) fn note(&self, place: &str, mark: &str) {
        let line = format!("{place}\t{mark}");
        let noted = self.lines().and_then(|lines| match lines.contains(&line) {
            true => Ok(()),
            false => self.write(lines, line),
        });
        if let Err(error) = noted {
            self.warn(&error);
        }
    }

    fn lines(&self) -> io::Result<Vec<String>> {
        match fs::read_to_string(self.folder.join(FILE)) {
            Ok(text) => Ok(text.lines().map(str::to_owned).collect()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    fn write(&self, mut lines: Vec<String>, line: String) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        lines.push(line);
        // Whoever writes at the same time has another name for it.
        let unfinished = self.folder.join(format!(".{FILE}-{}", std::process::id()));
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
        file.write_all((lines.join("\n") + "\n").as_bytes())?;
        file.sync_all()?;
        fs::rename(&unfinished, self.folder.join(FILE))?;
        fs::File::open(&self.folder)?.sync_all()
    }

    fn warn(&self, error: &io::Error) {
        let file = self.folder.join(FILE);
        tracing::warn!(
            target: "tidegate", file = %file.display(), %error,
            "the mark of the vault's store is not remembered here: a server that is empty at the next start is taken for a new one"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_remembered_for_its_place_and_what_cannot_be_read_hinders_nothing() {
        let folder = tempfile::TempDir::new().unwrap();
        let memo = Memo::new(&folder.path().join("vault"));
        assert_eq!(memo.known("redis a"), None);
        memo.note("redis a", "one");
        memo.note("redis ab", "two");
        memo.note("redis a", "one");
        assert_eq!((memo.known("redis a"), memo.known("redis ab")), (Some("one".into()), Some("two".into())));
        assert_eq!(memo.known("redis"), None);
        let file = folder.path().join("vault").join(FILE);
        assert_eq!(fs::read_to_string(&file).unwrap(), "redis a\tone\nredis ab\ttwo\n");
        fs::remove_file(&file).unwrap();
        fs::create_dir(&file).unwrap();
        memo.note("redis a", "one");
        assert_eq!(memo.known("redis a"), None);
    }
}
