//! Operators' calls: what goes through much. They have a connection and a limit of their own, so that nobody waits behind them.
//!
//! What is to be forgotten is sought first and then removed by its tokens. A row that does not read keeps no other from being forgotten or seen. So it is known what was on its way when a connection
//! breaks: it is removed once more over the next one, and told, so that no partner's notice lacks it. Start at [`forget`].

use std::collections::HashSet;
use std::time::{Duration, Instant};

use tokio_postgres::types::ToSql;

use super::super::{Forget, Forgotten, Page, Spelling, TokenId};
use super::connect::Connection;
use super::failure::Failure;
use super::link::Link;
use super::{rows, sql};

/// How long a removal whose outcome is not known is tried again: a server that restarts is back by then.
const PERSISTENCE: Duration = Duration::from_secs(30);
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(100);

/// What was found, and the tokens of rows that do not read.
type Sought = (Vec<Forgotten>, Vec<Vec<u8>>);

/// Forgets at most `most` of what is meant.
pub(super) async fn forget(link: &mut Link, what: &Forget, most: usize) -> Result<Vec<Forgotten>, Failure> {
    let mut gone = Vec::new();
    while gone.len() < most {
        let wanted = most - gone.len();
        let (sought, unread) = look(link, what, wanted).await?;
        let last = sought.len() + unread.len() < wanted;
        gone.extend(remove(link, sought, unread).await?);
        if last {
            break;
        }
    }
    Ok(gone)
}

/// At most `most` of what is meant; what does not read, with its token alone.
pub(super) async fn seek(link: &mut Link, what: &Forget, most: usize) -> Result<Vec<Forgotten>, Failure> {
    let (mut sought, unread) = look(link, what, most).await?;
    let tokens = unread.iter().filter_map(|token| TokenId::try_from(token.as_slice()).ok());
    sought.extend(tokens.map(|token| Forgotten { token, domain: [0; 16], epoch: 0, spelling: Spelling::Opaque }));
    Ok(sought)
}

async fn look(link: &mut Link, what: &Forget, most: usize) -> Result<Sought, Failure> {
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

/// Removes these, and gives those that were there; where it is not known what came of an attempt, all that are gone now. What did not
/// read is removed as well, and told to nobody: whose it is cannot be read.
async fn remove(link: &mut Link, sought: Vec<Forgotten>, unread: Vec<Vec<u8>>) -> Result<Vec<Forgotten>, Failure> {
    if !unread.is_empty() {
        tracing::error!(
            target: "tidegate", count = unread.len(),
            "entries that are to be forgotten do not read: their rows are removed, and told to nobody"
        );
    }
    let tokens: Vec<&[u8]> = sought.iter().map(|one| &one.token[..]).chain(unread.iter().map(Vec::as_slice)).collect();
    if tokens.is_empty() {
        return Ok(sought);
    }
    let (began, mut unknown) = (Instant::now(), false);
    loop {
        match remove_once(link, &tokens).await {
            Ok(removed) => {
                let gone = sought.iter().filter(|one| unknown || removed.contains(&one.token[..]));
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

async fn remove_once(link: &mut Link, tokens: &[&[u8]]) -> Result<HashSet<Vec<u8>>, Failure> {
    let connection = link.take().await?;
    let removed = link.limited(connection.remove(tokens)).await;
    link.give_back(connection, removed.as_ref().err().into_iter());
    removed
}

impl Connection {
    /// At most `most` of what is meant.
    async fn seek(&self, what: &Forget, most: usize) -> Result<Sought, Failure> {
        let (condition, about) = meant(what);
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let rows = self.client.query(&sql::seek(&condition), &[&*about, &most]).await?;
        let (mut sought, mut unread) = (Vec::with_capacity(rows.len()), Vec::new());
        for row in &rows {
            match rows::forgotten(row) {
                Ok(one) => sought.push(one),
                Err(_) => unread.extend(rows::token(row, 0)?.map(<[u8]>::to_vec)),
            }
        }
        Ok((sought, unread))
    }

    async fn remove(&self, tokens: &[&[u8]]) -> Result<HashSet<Vec<u8>>, Failure> {
        let rows = self.client.query(sql::REMOVE, &[&tokens]).await?;
        self.doubt()?;
        let token = |row| Ok(rows::token(row, 0)?.map(<[u8]>::to_vec));
        rows.iter().filter_map(|row| token(row).transpose()).collect()
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
