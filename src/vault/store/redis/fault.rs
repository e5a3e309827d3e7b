//! What can go wrong between us and a server, told so that it can be mended. Holds nothing of what was asked.

use super::settings::Address;

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Not reached, or broken off.
    #[error("`{node}`: {why}")]
    Away {
        /// Whom.
        node: Address,
        /// In our words, or the system's.
        why: String,
    },
    /// It is there and refuses, for now: loading, failing over, …
    #[error("`{node}`: {}", explain(code))]
    NotNow {
        /// Who.
        node: Address,
        /// The first word of what it said.
        code: String,
    },
    /// It is there and refuses.
    #[error("`{node}`: {}", explain(code))]
    Refused {
        /// Who.
        node: Address,
        /// The first word of what it said.
        code: String,
    },
    /// It would not keep what it is given.
    #[error("`{node}`: {unfit}")]
    Unfit {
        /// Who.
        node: Address,
        /// Why not.
        unfit: Unfit,
    },
    /// What it answers is not what was asked for.
    #[error(
        "`{node}`: its answer does not fit the question: is it Redis or Valkey, and does nothing else write under these keys?"
    )]
    Garbled {
        /// Who.
        node: Address,
    },
    /// Not as many replicas have it as are demanded.
    #[error("`{node}`: {have} replicas have what was written, and {want} must")]
    Replicas {
        /// Who.
        node: Address,
        /// How many have it.
        have: i64,
        /// How many must.
        want: u32,
    },
    /// Its log was not synced in time.
    #[error("`{node}`: what was written was not synced to its disk in time")]
    NotSynced {
        /// Who.
        node: Address,
    },
    /// The cluster has nobody for a slot.
    #[error("the cluster has no node for slot {0}: look at `CLUSTER INFO`")]
    Uncovered(u16),
    /// Two steps of one put were too far apart.
    #[error("took too long between two steps (are the clocks of the cluster's nodes right?)")]
    Late,
    /// Of the settings.
    #[error("{0}")]
    Settings(String),
    /// A row does not read.
    #[error("what it keeps is damaged: an entry does not read; restore a backup")]
    Damaged,
    /// See the contract.
    #[error("the token is another value's")]
    TokenTaken,
}

/// Why a server would not keep what it is given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// No log.
    #[error(
        "it keeps no log (`appendonly no`), so that a crash loses tokens that were given out: set `appendonly yes` and `appendfsync always`"
    )]
    NoLog,
    /// A log that is synced later.
    #[error(
        "it syncs its log after it has answered (`appendfsync {0}`), so that a crash loses tokens that were given out: set `appendfsync always`, or where it knows WAITAOF (Redis 7.2, Valkey) `vault.redis.durability = \"waited\"`"
    )]
    SyncsLater(String),
    /// A log that is not synced at times.
    #[error("it does not sync its log while it rewrites it (`no-appendfsync-on-rewrite yes`): set it to `no`")]
    NoSyncOnRewrite,
    /// It does not show its configuration.
    #[error(
        "it does not let us look at its configuration (`CONFIG GET *appendfsync*`): allow `+config|get` for this user, or, where it is certain that it syncs before it answers (`appendfsync always`), write `vault.redis.durability = \"assured\"`"
    )]
    Closed,
    /// It forgets keys when memory is short.
    #[error("it evicts keys when memory is short (`maxmemory-policy {0}`): set `maxmemory-policy noeviction`")]
    Evicts(String),
    /// It watches others.
    #[error(
        "it is a Sentinel, which is not asked for the way: name the primary and its replicas in `vault.redis.url`, of which the primary is taken"
    )]
    Sentinel,
    /// What was there before is not there any more.
    #[error(
        "it does not have the mark of this vault any more: it lost what it kept, or is another server. Known values would get new tokens, and the old ones could not be turned back: restore its append-only files, or see `docs/operations.md`, \"A server that lost what it kept\""
    )]
    Emptied,
    /// Something else is there.
    #[error(
        "it has the mark of another vault than before: look at `vault.redis.url` and `vault.redis.prefix`, restore its append-only files, or see `docs/operations.md`, \"A server that lost what it kept\""
    )]
    OtherVault,
    /// A copy of another.
    #[error("it is a replica: name its primary")]
    Replica,
    /// The log cannot be written.
    #[error("it could not write its log the last time (`aof_last_write_status`): look at its disk")]
    LogFails,
    /// No WAITAOF.
    #[error(
        "it does not know WAITAOF (Redis 7.2, Valkey): set `appendfsync always` there and `vault.redis.durability = \"always\"` here"
    )]
    NoWaiting,
    /// Replicas, and nobody has said what to do about them.
    #[error(
        "it has {0} replicas, and one that takes its place may lack what was kept: write `vault.redis.replicas`, how many of them must have a token before it leaves (`0` where none of them ever takes its place)"
    )]
    Undecided(u32),
    /// Fewer replicas than demanded.
    #[error("it has {have} replicas, and `vault.redis.replicas` demands {want}")]
    TooFewReplicas {
        /// So many.
        have: u32,
        /// Demanded.
        want: u32,
    },
}

/// What the first word of a refusal means.
fn explain(code: &str) -> String {
    let meaning = match code {
        "OOM" => "it is full: give it more memory (`maxmemory`)",
        "MISCONF" => "it cannot write to its disk: look at its log",
        "NOREPLICAS" => "fewer replicas are there than its `min-replicas-to-write` demands",
        "READONLY" => "it has become a replica",
        "LOADING" => "it is starting, and reads its files",
        "BUSY" => "it is busy with a script of somebody else",
        "MASTERDOWN" => "it is a replica that has lost its primary",
        "CLUSTERDOWN" => "the cluster does not serve: look at `CLUSTER INFO`",
        "TRYAGAIN" => "a slot is being moved",
        "MOVED" | "ASK" => "a slot moves to and fro",
        "WRONGPASS" => "it does not accept the user (in `vault.redis.url`) or the password (`vault.redis.password`)",
        "NOAUTH" => "it wants a password: write `vault.redis.password`",
        "NOPERM" => "this user may not do what a store needs: the rules are in docs/operations.md",
        "WRONGTYPE" => "something else is kept under our keys: choose another `vault.redis.prefix`",
        other => return format!("it refuses, with `{other}`"),
    };
    format!("{meaning} ({code})")
}

/// Refusals that pass by themselves.
pub(super) fn passes(code: &str) -> bool {
    ["READONLY", "LOADING", "BUSY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "MOVED", "ASK", "NOSCRIPT"].contains(&code)
}

impl Fault {
    /// Worth another try.
    pub(super) fn passes(&self) -> bool {
        matches!(
            self,
            Self::Away { .. } | Self::NotNow { .. } | Self::Uncovered(_) | Self::Unfit { unfit: Unfit::Replica, .. }
        )
    }

    /// What was asked may have been done all the same, and asking again may tell.
    pub(super) fn leaves_open(&self) -> bool {
        self.passes() || matches!(self, Self::Replicas { .. } | Self::NotSynced { .. } | Self::Late)
    }

    /// Of this question alone: the store answers others.
    pub(super) fn is_of_the_question(&self) -> bool {
        matches!(self, Self::Damaged | Self::TokenTaken)
    }
}
