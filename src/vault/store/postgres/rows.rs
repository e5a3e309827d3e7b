//! Rows as the server gives them, and parameters as it takes them. Start at [`entry`].

use tokio_postgres::Row;
use tokio_postgres::types::FromSql;

use super::super::{Entry, Forgotten, Spelling};
use super::failure::Failure;

/// Of `ENTRIES`.
pub(super) fn entry(row: &Row) -> Result<Entry, Failure> {
    let subjects: Vec<&[u8]> = column(row, 8)?;
    let subjects = subjects.into_iter().map(|of| of.try_into().map_err(|_| Failure::Damaged));
    let ends: Option<i64> = column(row, 7)?;
    Ok(Entry {
        token: array(row, 0)?,
        digest: array(row, 1)?,
        domain: array(row, 2)?,
        epoch: number(column(row, 3)?)?,
        spelling: spelling(column(row, 4)?)?,
        sealed: column(row, 5)?,
        issued_ms: number(column(row, 6)?)?,
        ends_ms: ends.map(number).transpose()?,
        subjects: subjects.collect::<Result<_, _>>()?,
    })
}

/// Of `seek`.
pub(super) fn forgotten(row: &Row) -> Result<Forgotten, Failure> {
    Ok(Forgotten {
        token: array(row, 0)?,
        domain: array(row, 1)?,
        epoch: number(column(row, 2)?)?,
        spelling: spelling(column(row, 3)?)?,
    })
}

/// A token as it stands there, unless there is none.
pub(super) fn token(row: &Row, at: usize) -> Result<Option<&[u8]>, Failure> {
    column(row, at)
}

/// So many bytes.
pub(super) fn array<const N: usize>(row: &Row, at: usize) -> Result<[u8; N], Failure> {
    column::<&[u8]>(row, at)?.try_into().map_err(|_| Failure::Damaged)
}

/// As the server counts. A time beyond what it counts to is its last.
pub(super) fn time(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

fn column<'r, T: FromSql<'r>>(row: &'r Row, at: usize) -> Result<T, Failure> {
    row.try_get(at).map_err(|_| Failure::Damaged)
}

fn spelling(code: i16) -> Result<Spelling, Failure> {
    u8::try_from(code).ok().and_then(Spelling::from_code).ok_or(Failure::Damaged)
}

fn number<T: TryFrom<i64>>(number: i64) -> Result<T, Failure> {
    T::try_from(number).map_err(|_| Failure::Damaged)
}
