//! Numbers between their canonical decimal (`json::text::canonical_number`: `-`, digits, `e`, exponent) and what people write.
//!
//! No arithmetic and no floats: digits are moved, never computed.

/// More digits or zeros than this are left in the exponent.
const ZEROS_MAX: usize = 64;

/// Sign, digits and exponent of a canonical decimal.
fn parts(canonical: &str) -> Option<(bool, &str, i32)> {
    let (negative, rest) = match canonical.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, canonical),
    };
    let (digits, exponent) = rest.split_once(['e', 'E']).unwrap_or((rest, "0"));
    let exponent = exponent.parse().ok()?;
    (!digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())).then_some((negative, digits, exponent))
}

/// Appends a canonical decimal as people and most programs write it: `12e2` as `1200`, `-5e-1` as `-0.5`. What is too long for
/// that, or not canonical, is appended as it is.
pub(super) fn spell(canonical: &str, out: &mut Vec<u8>) {
    let Some((negative, digits, exponent)) = parts(canonical) else {
        return out.extend_from_slice(canonical.as_bytes());
    };
    let places = usize::try_from(exponent.unsigned_abs()).unwrap_or(usize::MAX);
    if places > ZEROS_MAX {
        return out.extend_from_slice(canonical.as_bytes());
    }
    if negative {
        out.push(b'-');
    }
    if exponent >= 0 {
        out.extend_from_slice(digits.as_bytes());
        if digits != "0" {
            out.resize(out.len() + places, b'0');
        }
        return;
    }
    let (whole, fraction) = digits.split_at_checked(digits.len().saturating_sub(places)).unwrap_or((digits, ""));
    out.extend_from_slice(if whole.is_empty() { b"0" } else { whole.as_bytes() });
    out.push(b'.');
    out.resize(out.len() + places - fraction.len(), b'0');
    out.extend_from_slice(fraction.as_bytes());
}

/// Puts the digits of a whole number that is not negative into `room`. `None`: it is another kind of number, or too long.
pub(super) fn whole_digits<'a>(canonical: &str, room: &'a mut [u8]) -> Option<&'a [u8]> {
    let (negative, digits, exponent) = parts(canonical)?;
    let zeros = usize::try_from(exponent).ok()?;
    let length = digits.len().checked_add(zeros)?;
    if negative {
        return None;
    }
    let room = room.get_mut(..length)?;
    let spelled = digits.bytes().chain(std::iter::repeat(b'0'));
    room.iter_mut().zip(spelled).for_each(|(slot, digit)| *slot = digit);
    Some(room)
}
