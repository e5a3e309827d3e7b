//! Why nothing leaves, and how an exchange ended.
//!
//! The words that every layer above uses to say no. Not here: how a refusal looks to a partner (`proxy::refuse` maps it to
//! a status and a problem document). No variant holds a value from a body. Start at [`Refusal`].

use std::fmt;
use std::time::Duration;

use crate::ids::{Leg, RuleId};

/// Why nothing leaves: one variant per cause, grouped by whose fault it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    // -- who calls --
    /// No credential that any policy knows.
    CredentialMissing,
    /// A credential that does not verify: unknown, expired, of another partner's authority, wrongly signed.
    CredentialWrong,
    /// Two credentials that name different partners, or one kind twice.
    CredentialsDisagree,
    /// `require` asks for a kind of credential that was not presented.
    CredentialIncomplete,
    /// The agreement has ended.
    AgreementExpired,
    /// The agreement is suspended.
    AgreementSuspended,

    // -- what was asked --
    /// A request that can be read in more than one way, or not at all: doubled or malformed headers, a bad authority.
    RequestMalformed,
    /// A head with more bytes or fields than may be.
    HeadTooLarge,
    /// The path is not in its one normal form.
    PathNotNormal,
    /// The query cannot be read in exactly one way.
    QueryMalformed,
    /// No route for this path.
    RouteUnknown,
    /// A route for this path, but not with this method.
    MethodNotAllowed {
        /// The methods that the route has.
        allow: String,
    },

    // -- how often --
    /// Over the partner's rate.
    RateExceeded {
        /// When it is worth trying again.
        retry_after: Duration,
    },
    /// Over the partner's number of concurrent exchanges.
    ConcurrencyExceeded,
    /// Over what the partner may have turned back, or whose data it may see, in an hour.
    BudgetExceeded {
        /// When the hour has moved on; there may be room then.
        retry_after: Duration,
    },

    // -- the body, by who sent it (`Leg::Request`: the caller; `Leg::Response`: upstream) --
    /// Not the one strict reading of its media type.
    BodyMalformed {
        /// Who sent it.
        leg: Leg,
        /// The stable code of the fault, such as `json_syntax`.
        fault: &'static str,
        /// Where; only names that occur in the policy.
        location: String,
        /// Bytes of the document before the place.
        offset: u64,
    },
    /// Ended before its own framing said so.
    BodyIncomplete {
        /// Who sent it.
        leg: Leg,
    },
    /// The media type is not the route's, or the bytes are not what the header says.
    BodyTypeWrong {
        /// Who sent it.
        leg: Leg,
    },
    /// A content coding that is unknown, one too many, or bytes that are not in it.
    BodyCodingWrong {
        /// Who sent it.
        leg: Leg,
    },
    /// Over the limit in size, before or after its coding was undone.
    BodyTooLarge {
        /// Who sent it.
        leg: Leg,
    },
    /// Not sent in time.
    BodySlow {
        /// Who sent it.
        leg: Leg,
    },

    // -- the rules --
    /// A value at a revealed place that is no token of this partner and category.
    TokenNotAccepted {
        /// Who sent it.
        leg: Leg,
        /// The rule that looked for it.
        rule: RuleId,
    },
    /// A masked value in a request, at a place that answers mask: it would overwrite the real one.
    MaskedValueReturned {
        /// Who sent it.
        leg: Leg,
        /// The rule that masks it.
        rule: RuleId,
    },
    /// A rule with `must` that matched nothing.
    RuleUnmatched {
        /// Who sent the body.
        leg: Leg,
        /// The rule.
        rule: RuleId,
    },
    /// A rule that could not be evaluated.
    RuleFailed {
        /// Who sent the body.
        leg: Leg,
        /// The rule, where one can be named.
        rule: Option<RuleId>,
    },

    // -- upstream --
    /// No connection.
    UpstreamUnreachable,
    /// No answer in time.
    UpstreamSlow,
    /// An answer that is not HTTP, or breaks off before its head is whole.
    UpstreamMalformed,

    // -- who takes the answer --
    /// An answer that was begun, and was not taken in time.
    AnswerSlow,

    // -- ourselves --
    /// Tokens cannot be issued or revealed now.
    VaultUnavailable,
    /// The record cannot be written now.
    LedgerUnavailable,
    /// Too much at once.
    Overloaded,
    /// Going down.
    Draining,
}

impl Refusal {
    /// The stable code: in problem documents, logs, metrics and the record.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::CredentialMissing => "credential_missing",
            Self::CredentialWrong => "credential_wrong",
            Self::CredentialsDisagree => "credentials_disagree",
            Self::CredentialIncomplete => "credential_incomplete",
            Self::AgreementExpired => "agreement_expired",
            Self::AgreementSuspended => "agreement_suspended",
            Self::RequestMalformed => "request_malformed",
            Self::HeadTooLarge => "head_too_large",
            Self::PathNotNormal => "path_not_normal",
            Self::QueryMalformed => "query_malformed",
            Self::RouteUnknown => "route_unknown",
            Self::MethodNotAllowed { .. } => "method_not_allowed",
            Self::RateExceeded { .. } => "rate_exceeded",
            Self::ConcurrencyExceeded => "concurrency_exceeded",
            Self::BudgetExceeded { .. } => "budget_exceeded",
            Self::BodyMalformed { fault, .. } => fault,
            Self::BodyIncomplete { .. } => "body_incomplete",
            Self::BodyTypeWrong { .. } => "body_type_wrong",
            Self::BodyCodingWrong { .. } => "body_coding_wrong",
            Self::BodyTooLarge { .. } => "body_too_large",
            Self::BodySlow { .. } => "body_slow",
            Self::TokenNotAccepted { .. } => "token_not_accepted",
            Self::MaskedValueReturned { .. } => "masked_value_returned",
            Self::RuleUnmatched { .. } => "rule_unmatched",
            Self::RuleFailed { .. } => "rule_failed",
            Self::UpstreamUnreachable => "upstream_unreachable",
            Self::UpstreamSlow => "upstream_slow",
            Self::UpstreamMalformed => "upstream_malformed",
            Self::AnswerSlow => "answer_slow",
            Self::VaultUnavailable => "vault_unavailable",
            Self::LedgerUnavailable => "ledger_unavailable",
            Self::Overloaded => "overloaded",
            Self::Draining => "draining",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// How an exchange ended. In the record, in logs and as a metric's label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Everything was handed on.
    Delivered,
    /// Nothing was handed on.
    Refused,
    /// Cut after part of the body had been handed on.
    Cut,
    /// The receiver went away.
    Abandoned,
}

impl Outcome {
    /// The word in records, logs and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Refused => "refused",
            Self::Cut => "cut",
            Self::Abandoned => "abandoned",
        }
    }
}
