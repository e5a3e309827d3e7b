//! Operators' calls: what goes through much. They have a connection and a limit of their own, so that nobody waits behind them.
//!
//! What is to be forgotten is sought first and then removed by its tokens. So it is known what was on its way when a connection
//! breaks: it is removed once more over the next one, and told, so that no partner's notice lacks it. Start at [`forget`].

use std::collections::HashSet;
use std::time::{Duration, Instant};

use tokio_postgres::types::ToSql;

use super::super::{Forget, Forgotten, Page, TokenId};
use super::connect::Connection;
use super::failure::Failure;
use super::link::Link;
use super::{rows, sql};

/// How long a removal whose outcome is not known is tried again: a server that restarts is back by then.
const PERSISTENCE: Duration = Duration::from_secs(30);
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(100);

/// Forgets at most `most` of what is meant.
pub(super) async fn forget(link: &mut Link, what: &Forget, most: usize) -> Result<Vec<Forgotten>, Failure> {
    let mut gone = Vec::new();
    while gone.len() < most {
        let wanted = most - gone.len();
        let sought = seek(link, what, wanted).await?;
        let last = sought.len() < wanted;
        gone.extend(remove(link, sought).await?);
        if last {
            break;
        }
    }
    Ok(gone)
}

/// At most `most` of what is meant.
pub(super) async fn seek(link: &mut Link, what: &Forget, most: usize) -> Result<Vec<Forgotten>, Failure> {
    let connection = link.take().await?;
    let sought = link.limited(connection.seek(what, most)).await;
    link.give_back(connection, sought.as_ref().err().into_iter());
    sought
}

/// The entries after one.
pub(super) async fn visit(link: &mut Link, after: Option<TokenId>, count: usize) -> Result<Page, Failure> {
    let connection = link.take().await?;
    let page = link.limited(connection.page(after, count)).await;
    link.give_back(connection, page.as_ref().err().into_iter());
    page
}

/// Removes these, and gives those that were there; where it is not known what came of an attempt, all that are gone now.
async fn remove(link: &mut Link, sought: Vec<Forgotten>) -> Result<Vec<Forgotten>, Failure> {
    if sought.is_empty() {
        return Ok(sought);
    }
    let tokens: Vec<&[u8]> = sought.iter().map(|one| &one.token[..]).collect();
    let (began, mut unknown) = (Instant::now(), false);
    loop {
        match remove_once(link, &tokens).await {
            Ok(removed) => {
                let gone = sought.iter().filter(|one| unknown || removed.contains(&one.token));
                return Ok(gone.copied().collect());
            }
            Err(failure) if began.elapsed() > PERSISTENCE => return Err(failure),
            Err(failure) if failure.is_of_the_moment() => {}
            Err(failure) if failure.is_passing() => unknown = true,
            Err(failure) => return Err(failure),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn remove_once(link: &mut Link, tokens: &[&[u8]]) -> Result<HashSet<TokenId>, Failure> {
    let connection = link.take().await?;
    let removed = link.limited(connection.remove(tokens)).await;
    link.give_back(connection, removed.as_ref().err().into_iter());
    removed
}

impl Connection {
    /// At most `most` of what is meant.
    async fn seek(&self, what: &Forget, most: usize) -> Result<Vec<Forgotten>, Failure> {
        let (condition, about) = meant(what);
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let rows = self.client.query(&sql::seek(&condition), &[&*about, &most]).await?;
        rows.iter().map(rows::forgotten).collect()
    }

    async fn remove(&self, tokens: &[&[u8]]) -> Result<HashSet<TokenId>, Failure> {
        let rows = self.client.query(sql::REMOVE, &[&tokens]).await?;
        self.doubt()?;
        rows.iter().filter_map(|row| rows::token(row, 0).transpose()).collect()
    }

    async fn page(&self, after: Option<TokenId>, count: usize) -> Result<Page, Failure> {
        let (after, count) = (after.as_ref().map(|after| &after[..]), i64::try_from(count).unwrap_or(i64::MAX));
        let rows = match after {
            Some(after) => self.client.query(&sql::page("WHERE token > $2"), &[&count, &after]).await?,
            None => self.client.query(&sql::page(""), &[&count]).await?,
        };
        let mut page = Page::default();
        for row in &rows {
            page.last = Some(rows::array(row, 0)?);
            match rows::entry(row) {
                Err(Failure::Damaged) => page.damaged += 1,
                entry => page.entries.push(entry?),
            }
        }
        Ok(page)
    }
}

/// A condition, and what it is about. Numbers are in its text, never bytes.
fn meant(what: &Forget) -> (String, Box<dyn ToSql + Sync + Send + '_>) {
    match what {
        Forget::Values(digests) => {
            ("digest = ANY($1)".into(), Box::new(digests.iter().map(|digest| &digest[..]).collect::<Vec<_>>()))
        }
        Forget::Tokens(tokens) => {
            ("token = ANY($1)".into(), Box::new(tokens.iter().map(|token| &token[..]).collect::<Vec<_>>()))
        }
        Forget::Subject(subject) => {
            let of = "token IN (SELECT s.token FROM vault_subjects s WHERE s.subject = $1)";
            (of.into(), Box::new(&subject[..]))
        }
        Forget::Domain(domain, epoch) => {
            let epoch = epoch.map_or_else(String::new, |epoch| format!(" AND epoch = {epoch}"));
            (format!("domain = $1{epoch}"), Box::new(&domain[..]))
        }
        Forget::IssuedBefore(time) => ("issued_ms <= $1".into(), Box::new(last_before(*time))),
        Forget::EndedBefore(time) => ("ends_ms <= $1".into(), Box::new(last_before(*time))),
    }
}

/// The last moment before this one: a time that the server does not count to is kept as its last, and is before all later ones.
fn last_before(ms: u64) -> i64 {
    i64::try_from(ms).map_or(i64::MAX, |ms| ms - 1)
}
