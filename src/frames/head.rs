//! The head of a part: its name, whether it is a file, and of what type it says it is.
//!
//! A name is compared as WHATWG HTML writes it: `%22`, `%0D` and `%0A` stand for what they say. Whatever some reader would undo and another would
//! not (a backslash, another escape) is a fault. Start at [`Head::parse`].

use super::FaultKind;

/// What a part says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// Its name.
    pub name: String,
    /// It has a file's name. What that is does not matter: it is data.
    pub file: bool,
    /// Its media type in lower case, without parameters.
    pub media: Option<String>,
}

impl Head {
    /// Reads the lines of a head, without the empty one.
    ///
    /// # Errors
    /// [`FaultKind::PartsHead`], [`FaultKind::PartsName`], [`FaultKind::PartsEncoding`].
    pub fn parse(bytes: &[u8]) -> Result<Self, FaultKind> {
        let text = std::str::from_utf8(bytes).map_err(|_| FaultKind::PartsHead)?;
        let (mut disposition, mut media) = (None, None);
        for line in text.split("\r\n") {
            let (name, value) = line.split_once(':').ok_or(FaultKind::PartsHead)?;
            if name.is_empty() || !name.bytes().all(is_token) || value.bytes().any(|b| b < b' ' && b != b'\t') {
                return Err(FaultKind::PartsHead);
            }
            let value = value.trim_matches([' ', '\t']);
            match name.to_ascii_lowercase().as_str() {
                "content-disposition" if disposition.is_none() => disposition = Some(value),
                "content-type" if media.is_none() => media = Some(media_type(value)?),
                "content-disposition" | "content-type" => return Err(FaultKind::PartsHead),
                "content-transfer-encoding" => {
                    let plain = ["7bit", "8bit", "binary"].iter().any(|known| value.eq_ignore_ascii_case(known));
                    if !plain {
                        return Err(FaultKind::PartsEncoding);
                    }
                }
                // It goes.
                _ => {}
            }
        }
        let (name, file) = names(disposition.ok_or(FaultKind::PartsHead)?)?;
        Ok(Self { name, file, media })
    }
}

/// RFC 9110, section 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn is_word(text: &str) -> bool {
    (1..=127).contains(&text.len()) && text.bytes().all(is_token)
}

/// The essence; a charset has to be UTF-8.
fn media_type(value: &str) -> Result<String, FaultKind> {
    let (essence, parameters) = value.split_once(';').unwrap_or((value, ""));
    let essence = essence.trim().to_ascii_lowercase();
    let (main, sub) = essence.split_once('/').ok_or(FaultKind::PartsHead)?;
    if !is_word(main) || !is_word(sub) {
        return Err(FaultKind::PartsHead);
    }
    for parameter in parameters.split(';').map(str::trim) {
        let Some((name, value)) = parameter.split_once('=') else { continue };
        let value = value.trim().trim_matches('"');
        if name.trim().eq_ignore_ascii_case("charset") && !value.eq_ignore_ascii_case("utf-8") {
            return Err(FaultKind::PartsHead);
        }
    }
    Ok(essence)
}

/// `form-data; name="a"; filename="b"`: the name, and whether there is a file's.
fn names(value: &str) -> Result<(String, bool), FaultKind> {
    let (kind, mut rest) = value.split_once(';').unwrap_or((value, ""));
    if !kind.trim().eq_ignore_ascii_case("form-data") {
        return Err(FaultKind::PartsHead);
    }
    let (mut name, mut file) = (None, false);
    loop {
        rest = rest.trim_start_matches([' ', '\t']);
        if rest.is_empty() {
            return Ok((name.ok_or(FaultKind::PartsName)?, file));
        }
        let (key, behind) = rest.split_once('=').ok_or(FaultKind::PartsHead)?;
        if !is_word(key) {
            return Err(FaultKind::PartsHead);
        }
        let (value, behind) = match behind.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').ok_or(FaultKind::PartsHead)?,
            None => {
                let end = behind.find(|c: char| !u8::try_from(c).is_ok_and(is_token)).unwrap_or(behind.len());
                let (value, behind) = behind.split_at_checked(end).unwrap_or_default();
                if value.is_empty() {
                    return Err(FaultKind::PartsHead);
                }
                (value, behind)
            }
        };
        // Where one reader ends the text, another would go on.
        if value.contains('\\') {
            return Err(FaultKind::PartsName);
        }
        let behind = behind.trim_start_matches([' ', '\t']);
        rest = match behind.strip_prefix(';') {
            Some(rest) => rest,
            None if behind.is_empty() => "",
            None => return Err(FaultKind::PartsHead),
        };
        match key.to_ascii_lowercase().as_str() {
            "name" if name.is_none() => name = Some(decode(value)?),
            "filename" if !file => file = true,
            "name" | "filename" => return Err(FaultKind::PartsHead),
            key if key.starts_with("filename*") || key.starts_with("name*") => return Err(FaultKind::PartsName),
            _ => {}
        }
    }
}

fn decode(value: &str) -> Result<String, FaultKind> {
    let (mut name, mut rest) = (String::new(), value);
    while let Some((before, behind)) = rest.split_once('%') {
        name.push_str(before);
        let code = behind.get(..2).filter(|code| code.bytes().all(|b| b.is_ascii_hexdigit()));
        rest = match code.map(str::to_ascii_uppercase).as_deref() {
            None => {
                name.push('%');
                behind
            }
            Some("22") => push(&mut name, '"', behind),
            Some("0D") => push(&mut name, '\r', behind),
            Some("0A") => push(&mut name, '\n', behind),
            // Some readers undo it, some do not.
            Some(_) => return Err(FaultKind::PartsName),
        };
    }
    name.push_str(rest);
    Ok(name)
}

fn push<'a>(name: &mut String, char: char, behind: &'a str) -> &'a str {
    name.push(char);
    behind.get(2..).unwrap_or_default()
}

/// Writes a name as a quoted text (WHATWG HTML, section 4.10.21.8).
pub fn encode_name(name: &str, out: &mut Vec<u8>) {
    for byte in name.bytes() {
        match byte {
            b'"' => out.extend_from_slice(b"%22"),
            b'\r' => out.extend_from_slice(b"%0D"),
            b'\n' => out.extend_from_slice(b"%0A"),
            byte => out.push(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &str) -> Result<(String, bool, Option<String>), FaultKind> {
        Head::parse(lines.as_bytes()).map(|head| (head.name, head.file, head.media))
    }

    #[test]
    fn a_head_says_name_file_and_type() {
        let is = |lines: &str, name: &str, file: bool, media: Option<&str>| {
            assert_eq!(read(lines), Ok((name.to_owned(), file, media.map(str::to_owned))), "{lines}");
        };
        is("Content-Disposition: form-data; name=\"a\"", "a", false, None);
        is("content-disposition:form-data;name=a;filename=\"x ; y\"; size=3", "a", true, None);
        is(
            "X-Any: 1\r\nContent-Type: Application/JSON; charset=\"UTF-8\"\r\nContent-Disposition: form-data; name=\"ü %22b%0d%0A%\"",
            "ü \"b\r\n%",
            false,
            Some("application/json"),
        );
        is("Content-Transfer-Encoding: 8bit\r\nContent-Disposition: form-data; name=\"\"", "", false, None);
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_a_fault() {
        use FaultKind as K;
        let named = "Content-Disposition: form-data; name=a";
        for (lines, kind) in [
            ("", K::PartsHead),
            ("Content-Type: text/plain", K::PartsHead),
            ("Content-Disposition: attachment; name=a", K::PartsHead),
            ("Content-Disposition: form-data", K::PartsName),
            ("Content-Disposition: form-data; name=a; name=b", K::PartsHead),
            ("Content-Disposition: form-data; name=a; filename=b; filename=c", K::PartsHead),
            ("Content-Disposition: form-data; name=a; filename*=utf-8''b", K::PartsName),
            ("Content-Disposition: form-data; name*=utf-8''b", K::PartsName),
            ("Content-Disposition: form-data; name=\"a\\\"b\"", K::PartsName),
            ("Content-Disposition: form-data; name=\"%61\"", K::PartsName),
            ("Content-Disposition: form-data; name=\"a\"b", K::PartsHead),
            ("Content-Disposition: form-data; name=\"a", K::PartsHead),
            ("Content-Disposition: form-data;\r\n name=a", K::PartsHead),
            ("Content-Disposition : form-data; name=a", K::PartsHead),
            ("Content-Disposition: form-data; name=a\n", K::PartsHead),
            (&format!("{named}\r\n{named}"), K::PartsHead),
            (&format!("{named}\r\nContent-Transfer-Encoding: base64"), K::PartsEncoding),
            (&format!("{named}\r\nContent-Type: text/plain; charset=latin1"), K::PartsHead),
            (&format!("{named}\r\nContent-Type: text"), K::PartsHead),
        ] {
            assert_eq!(read(lines), Err(kind), "{lines}");
        }
    }
}
