//! Addresses and coordinates, made coarser.

use std::fmt::Write;
use std::net::{IpAddr, Ipv6Addr};

use super::decimal;

/// Micro-degrees in a degree: about 11 cm, finer than any coordinate that is worth protecting.
const MICRO: i128 = 1_000_000;
const MICRO_PLACES: i64 = 6;
/// Metres in a degree of latitude, and of longitude at the equator (the mean: 40,008 km round the poles).
const METRES_PER_DEGREE: i128 = 111_132;

/// Appends the network of an address: IPv4 to /24, IPv6 to /48.
///
/// An IPv4 address that is written as an IPv6 address (`::ffff:203.0.113.7`) is one; the /48 of a 6to4 address (RFC 3056) would
/// have the whole IPv4 address in it, so it is cut at /40, which leaves the IPv4 /24.
pub(super) fn network(text: &str, out: &mut String) -> Option<()> {
    // The standard library reads strictly: no leading zeros, no zone, no port.
    match text.parse::<IpAddr>().ok()?.to_canonical() {
        IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            write!(out, "{a}.{b}.{c}.0/24").ok()
        }
        IpAddr::V6(address) => {
            let bits: u32 = if address.segments().first() == Some(&0x2002) { 40 } else { 48 };
            let network = Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << (128 - bits)));
            write!(out, "{network}/{bits}").ok()
        }
    }
}

/// Appends a coordinate in decimal degrees, latitude or longitude, moved to the nearest line of a grid.
///
/// The lines are `metres / 111,132 m` degrees apart, rounded up to two significant digits so that results have few decimals: 1 km
/// is 0.009 degrees, 100 m is 0.0009. Of one coordinate alone it cannot be told how far north it is, so cells get narrower from
/// west to east away from the equator: half as wide at 60 degrees. A policy for the far north asks for a coarser grid.
pub(super) fn grid(text: &str, metres: u32, out: &mut String) -> Option<()> {
    let step = step(i128::from(metres))?;
    let value = decimal::floor(text, MICRO_PLACES)?.value;
    let limit = if value.abs() <= 90 * MICRO { 90 * MICRO } else { 180 * MICRO };
    if value.abs() > limit {
        return None;
    }
    let nearest = (value + step / 2).div_euclid(step) * step;
    // The last line must not lie beyond the pole, or beyond the date line.
    let on_earth = if nearest.abs() > limit { nearest - nearest.signum() * step } else { nearest };
    let (sign, degrees, rest) = (if on_earth < 0 { "-" } else { "" }, on_earth.abs() / MICRO, on_earth.abs() % MICRO);
    write!(out, "{sign}{degrees}").ok()?;
    if rest > 0 {
        let decimals = format!("{rest:06}");
        write!(out, ".{}", decimals.trim_end_matches('0')).ok()?;
    }
    Some(())
}

/// Micro-degrees between two lines. `None`: a grid of nothing, or of more than half the earth.
fn step(metres: i128) -> Option<i128> {
    let exact = (metres * MICRO + METRES_PER_DEGREE - 1) / METRES_PER_DEGREE;
    let mut unit = 1;
    while exact / unit >= 100 {
        unit *= 10;
    }
    let step = (exact + unit - 1) / unit * unit;
    (1..=90 * MICRO).contains(&step).then_some(step)
}
