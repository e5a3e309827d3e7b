//! Over a container that nothing is asked in: as strict as `skim`, and quicker, because it is not resumable.
//!
//! It takes what is ordinary and lies in the stretch whole; anything else is for `skim`, from the opener again. Start at [`skip`].

use super::super::marks::View;

/// Levels that fit a word, and how many words of them.
const LEVELS: usize = 64;
const WORDS: usize = 8;

/// Behind the container whose opener is at `open`, and the first quote there. `next` is the first quote in it, and `room` how many
/// containers may be open in each other. `BLANKS`: white space may be between tokens.
#[inline(never)]
pub(super) fn skip<const BLANKS: bool>(
    view: &View<'_>,
    open: usize,
    mut next: usize,
    room: usize,
) -> Option<(usize, usize)> {
    let room = room.min(LEVELS * WORDS);
    // Of the containers around the innermost one: which are objects, the inmost of them in the lowest bit.
    let (mut kinds, mut deeper) = (0_u64, [0_u64; WORDS]);
    let (mut at, mut depth) = (open + 1, 1);
    let mut object = view.byte(open)? == b'{';
    let mut first = true;
    if depth > room {
        return None;
    }
    loop {
        if BLANKS {
            at = view.blank(at)?;
        }
        let byte = view.byte(at)?;
        if byte == if object { b'}' } else { b']' } {
            at += 1;
            depth -= 1;
            if depth == 0 {
                return Some((at, next));
            }
            if depth % LEVELS == 0 {
                kinds = deeper.get(depth / LEVELS % WORDS).copied()?;
            }
            (object, kinds, first) = (kinds & 1 == 1, kinds >> 1, false);
            continue;
        }
        let mut value = at;
        if !first {
            if byte != b',' {
                return None;
            }
            value += 1;
            if BLANKS {
                value = view.blank(value)?;
            }
        }
        let mut kind;
        if object {
            if view.byte(value)? != b'"' {
                return None;
            }
            let close = string(view, value, &mut next, true)?;
            let [_, colon, one, _] = view.four(close)?;
            (value, kind) = (close + 2, one);
            if BLANKS {
                let colon = view.blank(close + 1)?;
                value = view.blank(colon + 1)?;
                kind = view.byte(value)?;
                if view.byte(colon)? != b':' {
                    return None;
                }
            } else if colon != b':' {
                return None;
            }
        } else {
            kind = view.byte(value)?;
        }
        at = match kind {
            b'"' => string(view, value, &mut next, false)? + 1,
            b'-' | b'0'..=b'9' => view.plain_number(value, kind)?,
            b'{' | b'[' => {
                if depth >= room {
                    return None;
                }
                kinds = kinds << 1 | u64::from(object);
                if depth % LEVELS == 0 {
                    *deeper.get_mut(depth / LEVELS % WORDS)? = kinds;
                }
                depth += 1;
                (object, first) = (kind == b'{', true);
                at = value + 1;
                continue;
            }
            _ => view.literal(value, kind)?,
        };
        first = false;
    }
}

/// The closing quote of the string whose opening quote is at `open` and the next one.
#[inline(always)]
fn string(view: &View<'_>, open: usize, next: &mut usize, name: bool) -> Option<usize> {
    let close = view.quote(*next + 1)?;
    if view.byte(close)? == b'"' && view.is_clear(open, close) {
        *next += 2;
        return Some(close);
    }
    let (close, behind) = escaped(*view, open, *next, name)?;
    *next = behind;
    Some(close)
}

/// The same, where there are escapes; and the first quote behind it.
#[inline(never)]
pub(super) fn escaped(mut view: View<'_>, open: usize, next: usize, name: bool) -> Option<(usize, usize)> {
    view.next = next;
    let close = view.escaped_string(open, name)?;
    Some((close, view.next))
}
