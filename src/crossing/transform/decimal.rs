//! Decimal numbers as they are spelled, rounded down without floats.

/// More digits than these before the point are no quantity that anybody makes coarser, and would not fit.
const DIGITS_MAX: usize = 36;

/// A number rounded down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Floor {
    /// The greatest whole number that is not above it.
    pub(super) value: i128,
    /// Nothing was cut off.
    pub(super) exact: bool,
}

/// `text * 10^scale`, rounded down. `None`: not a number in the grammar of JSON (RFC 8259, section 6), or of over 36 digits.
pub(super) fn floor(text: &str, scale: i64) -> Option<Floor> {
    let (negative, rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, parse_exponent(exponent)?),
        None => (rest, 0),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || (whole.len() > 1 && whole.starts_with('0')) || !fraction.is_none_or(digits) {
        return None;
    }
    let mut digits = whole.bytes().chain(fraction.unwrap_or_default().bytes()).peekable();
    // How many digits stand before the point, once it is moved; leading zeros count for nothing.
    let mut before = i64::try_from(whole.len()).ok()?.checked_add(exponent)?.checked_add(scale)?;
    while digits.next_if_eq(&b'0').is_some() {
        before -= 1;
    }
    if digits.peek().is_none() {
        return Some(Floor { value: 0, exact: true });
    }
    let before = usize::try_from(before.max(0)).ok().filter(|before| *before <= DIGITS_MAX)?;
    let mut value = 0i128;
    for _ in 0..before {
        value = value * 10 + i128::from(digits.next().unwrap_or(b'0') - b'0');
    }
    let exact = digits.all(|digit| digit == b'0');
    let value = match (negative, exact) {
        (false, _) => value,
        (true, true) => -value,
        (true, false) => -value - 1,
    };
    Some(Floor { value, exact })
}

fn parse_exponent(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let number =
        (!digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())).then(|| digits.parse::<i32>().ok())??;
    Some(if text.starts_with('-') { -i64::from(number) } else { i64::from(number) })
}
