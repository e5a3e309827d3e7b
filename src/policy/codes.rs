//! The numbers of all complaints about policies. `docs/errors.md` has their meanings and remedies; a test keeps the two equal.

macro_rules! codes {
    ($($name:ident = $code:literal, $title:literal;)*) => {
        $(#[doc = $title] pub const $name: &str = $code;)*
        /// Code and title of each, in order.
        pub const ALL: &[(&str, &str)] = &[$(($code, $title),)*];
    };
}

codes! {
    SYNTAX = "P001", "the file is not TOML";
    UNKNOWN_KEY = "P002", "an unknown key";
    MISSING_KEY = "P003", "a key is missing";
    WRONG_TYPE = "P004", "a value of the wrong type";
    BAD_NAME = "P005", "a name that is not allowed";
    BAD_VALUE = "P006", "a value that is not in its form";
    UNSUPPORTED = "P007", "not supported by this version";

    NO_IDENTITY = "P010", "inbound routes, and no credential";
    REQUIRE_UNKNOWN = "P011", "a demanded credential that is not described";
    BAD_ALGORITHM = "P012", "a signature algorithm that is not accepted";
    BAD_KEY_HEADER = "P013", "a header that cannot carry an API key";
    NO_HOST = "P014", "outbound routes, and no host";
    EXPIRES_SOON = "P015", "the agreement ends soon or has ended";
    SUSPENDED = "P016", "the agreement is suspended";
    PARTNER_TWICE = "P017", "two files for one partner";
    CREDENTIAL_SHARED = "P018", "a credential that names two partners";
    HOST_TWICE = "P019", "a host that names two partners";
    DOMAIN_TAKEN = "P020", "a token domain that is another partner's own";
    PLACEHOLDER = "P021", "a digest that no key has";
    BAD_DIGEST = "P022", "a digest that is none";

    BAD_MATCH = "P030", "a route that cannot be read";
    ROUTES_CLASH = "P031", "two routes that match the same request";
    NO_ROUTES = "P032", "a policy without routes";
    LEG_KEY = "P033", "a key that does not belong on this leg";
    HEADER_NEVER = "P034", "a header that no policy may name";
    HEADER_NEEDS_RULE = "P035", "a header that passes only by a rule";
    NOT_JSON = "P036", "a path into a body that is not JSON";
    OPAQUE_BODY = "P037", "a body that passes unread";
    DEFAULT_KEEP = "P038", "a disclosing leg that keeps what is not listed";
    CAPTURE_UNRULED = "P039", "a part of the path that leaves without a rule";

    LOCATOR = "P040", "a rule that looks nowhere, or in two places";
    BAD_PATH = "P041", "a path that cannot be read";
    UNKNOWN_ACTION = "P042", "an unknown action";
    SETTING_MISSING = "P043", "an action that lacks a setting";
    SETTING_STRAY = "P044", "a setting that belongs to another action";
    LOCATOR_LEG = "P045", "a place that this leg does not have";
    CAPTURE_UNKNOWN = "P046", "a capture that the route does not have";
    ACTION_BESIDE = "P047", "an action that is not possible at this place";
    ID_TWICE = "P048", "two rules with one id";
    RULES_CLASH = "P049", "two rules that disagree on one place";
    TOO_COMPLEX = "P050", "paths that are too complex together";
    RULE_IDLE = "P051", "a rule that never decides";
    WILDCARD = "P052", "a wildcard that lets new fields leave";
    FILTER_WITHHELD = "P053", "a filter on a value that does not leave";
    DIGITS = "P054", "tokens that bear no proof";
    INSIDE = "P055", "a string that cannot be opened";
    STORED = "P056", "a token that only a store can keep, or that none keeps";
    SUBJECT = "P057", "a subject that no stored token can be linked to";
    HELD = "P058", "a rule for which a part of a body is held";
    DATES = "P059", "dates that are moved by days";

    ORACLE = "P060", "a revealed value that can be read back";
    CLEAR_WRITE = "P061", "a tokenized value that can be written in clear";
    NEVER_ISSUED = "P062", "a reveal for which no token is issued";
    SHAPES_MEET = "P063", "tokens of one category that cannot be told apart";
    NORMALIZE = "P064", "a normalization of what keeps its characters";
    BUDGET = "P065", "a budget that nothing is taken from";

    UPSTREAM_UNKNOWN = "P070", "an upstream that the settings do not have";
    FILE_UNREADABLE = "P071", "a named file that cannot be read";
    KEYS_WRONG = "P072", "keys that cannot be used";
    STORE_WRONG = "P073", "a store of tokens that does not open";
}
