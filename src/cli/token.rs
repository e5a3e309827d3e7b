//! `tidegate token`: an operator has tokens turned back by the running program.
//!
//! Asks the admin listener on this machine. Tokens come from standard input, one a line, and the credential from a variable or a file: neither is seen
//! in a list of processes or a shell's history. Start at [`run`].

use std::io::{self, BufRead, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ::http::{HeaderMap, Method};
use data_encoding::{BASE32_NOPAD, HEXLOWER};
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::http::client::{self, Client, Failure};
use crate::http::pem;

use super::{Exit, SettingsArgs};

/// Where a credential is, if no file is named.
const VARIABLE: &str = "TIDEGATE_OPERATOR_CREDENTIAL";
/// The store may take its time.
const TIME: Duration = Duration::from_secs(30);
const ANSWER_BYTES: usize = 16 << 20;

/// What the command line says.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Turn the tokens on standard input back, one a line; or take what another operator has approved
    Reveal(RevealArgs),
    /// Approve another operator's request, after it was shown
    Approve {
        /// The request, as the other operator was told
        request: String,
        /// Approve it; without it, it is only shown
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        who: Who,
    },
    /// Make a credential for an operator, and what the settings keep of it
    Credential {
        /// The operator's name
        name: String,
    },
}

#[derive(Debug, clap::Args)]
struct RevealArgs {
    /// Why: one line, for the record
    #[arg(long, required_unless_present = "request")]
    reason: Option<String>,
    /// Whose tokens: the partner's id
    #[arg(long, required_unless_present = "request")]
    partner: Option<String>,
    /// Their category, as the policy's `is`
    #[arg(long, value_name = "CATEGORY", required_unless_present = "request")]
    is: Option<String>,
    /// Their shape, where tokens do not say what they are: `digits`, `alnum`, `card`, `iban`, `date`
    #[arg(long, value_name = "SHAPE")]
    r#as: Option<String>,
    /// Take what was asked for and approved
    #[arg(long, value_name = "REQUEST", conflicts_with_all = ["reason", "partner", "is", "as"])]
    request: Option<String>,
    #[command(flatten)]
    who: Who,
}

/// Who asks, and whom.
#[derive(Debug, clap::Args)]
struct Who {
    /// The operator's name, as in the settings
    #[arg(long, value_name = "NAME")]
    operator: String,
    /// The file with the credential, which only you may read [default: the variable TIDEGATE_OPERATOR_CREDENTIAL]
    #[arg(long, value_name = "FILE")]
    credential_file: Option<PathBuf>,
    /// The admin listener, instead of the settings'
    #[arg(long, value_name = "ADDRESS")]
    admin: Option<SocketAddr>,
    #[command(flatten)]
    settings: SettingsArgs,
}

/// Runs the command.
pub fn run(args: Args, out: &mut dyn Write, err: &mut dyn Write) -> Exit {
    let done = match args.command {
        Command::Reveal(args) => reveal(args, &mut io::stdin().lock(), out, err),
        Command::Approve { request, yes, who } => approve(&request, yes, &who, out, err),
        Command::Credential { name } => credential(&name, out),
    };
    done.unwrap_or_else(|text| {
        if !text.is_empty() {
            let _ = writeln!(err, "{text}");
        }
        Exit::Unusable
    })
}

fn credential(name: &str, out: &mut dyn Write) -> Result<Exit, String> {
    let mut random = Zeroizing::new([0; 32]);
    getrandom::fill(random.as_mut_slice()).map_err(|_| "the system gives no random bytes".to_owned())?;
    let credential = Zeroizing::new(BASE32_NOPAD.encode(random.as_slice()).to_ascii_lowercase());
    let digest = HEXLOWER.encode(&Sha256::digest(credential.as_bytes()));
    let written = writeln!(
        out,
        "for the operator alone, shown this once:\n  {}\nfor the settings:\n  [reveal.operator.{name}]\n  sha256 = \"{digest}\"",
        *credential
    );
    written.map_err(|_| String::new())?;
    Ok(Exit::Clean)
}

#[derive(Deserialize)]
struct Told {
    #[serde(default)]
    results: Vec<Outcome>,
    request: Option<String>,
    within_seconds: Option<u64>,
    error: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    Value(Zeroizing<String>),
    Gone(String),
    Never(String),
    Unknown(String),
}

#[derive(Deserialize)]
struct Shown {
    operator: String,
    reason: String,
    partner: String,
    category: String,
    tokens: u64,
}

fn reveal(args: RevealArgs, input: &mut dyn BufRead, out: &mut dyn Write, err: &mut dyn Write) -> Result<Exit, String> {
    let (path, body) = match &args.request {
        Some(request) => ("/reveal/take", json!({"request": request})),
        None => {
            let tokens = tokens(input)?;
            let tokens: Vec<&str> = tokens.iter().map(|token| token.as_str()).collect();
            let mut body =
                json!({"reason": args.reason, "partner": args.partner, "category": args.is, "tokens": tokens});
            if let (Some(shape), Some(body)) = (&args.r#as, body.as_object_mut()) {
                body.insert("as".to_owned(), json!(shape));
            }
            ("/reveal", body)
        }
    };
    let told: Told = args.who.ask(path, body, err)?;
    if let Some(request) = told.request {
        let operator = &args.who.operator;
        let minutes = told.within_seconds.unwrap_or_default().div_ceil(60);
        let _ = writeln!(
            err,
            "request {request} waits for another operator, for {minutes} minutes: `tidegate token approve {request}`\n  \
             then take it by `tidegate token reveal --request {request} --operator {operator}`"
        );
        return Ok(Exit::Clean);
    }
    let mut exit = Exit::Clean;
    for outcome in &told.results {
        let written = match outcome {
            Outcome::Value(value) => writeln!(out, "{}", value.as_str()),
            Outcome::Gone(why) => {
                exit = Exit::Findings;
                writeln!(out, "# gone: {why}")
            }
            Outcome::Never(why) | Outcome::Unknown(why) => {
                exit = Exit::Findings;
                writeln!(out, "# not turned back: {why}")
            }
        };
        written.map_err(|_| String::new())?;
    }
    Ok(exit)
}

fn approve(request: &str, yes: bool, who: &Who, out: &mut dyn Write, err: &mut dyn Write) -> Result<Exit, String> {
    if !yes {
        let shown: Shown = who.ask("/reveal/show", json!({"request": request}), err)?;
        let Shown { operator, reason, partner, category, tokens } = shown;
        let written = writeln!(
            out,
            "{operator} asks for {tokens} tokens of {category} of partner {partner}\n  because: {reason}\n  To approve it: the same command with `--yes`."
        );
        return written.map(|()| Exit::Clean).map_err(|_| String::new());
    }
    let _: Told = who.ask("/reveal/approve", json!({"request": request}), err)?;
    writeln!(out, "approved").map(|()| Exit::Clean).map_err(|_| String::new())
}

fn tokens(input: &mut dyn BufRead) -> Result<Vec<Zeroizing<String>>, String> {
    let mut tokens = Vec::new();
    for line in input.lines() {
        let line = Zeroizing::new(line.map_err(|error| format!("standard input: {}", error.kind()))?);
        let token = line.trim();
        if !token.is_empty() {
            tokens.push(Zeroizing::new(token.to_owned()));
        }
    }
    if tokens.is_empty() {
        return Err("no tokens on standard input: write them there, one a line".to_owned());
    }
    Ok(tokens)
}

impl Who {
    fn credential(&self) -> Result<Zeroizing<String>, String> {
        if let Some(file) = &self.credential_file {
            return pem::secret_text(file);
        }
        let set = std::env::var(VARIABLE).map(Zeroizing::new);
        let set = set.map_err(|_| format!("no credential: set `{VARIABLE}`, or name a file by `--credential-file`"))?;
        Ok(Zeroizing::new(set.trim().to_owned()))
    }

    fn address(&self, err: &mut dyn Write) -> Result<SocketAddr, String> {
        if let Some(address) = self.admin {
            return Ok(address);
        }
        let settings = self.settings.load(err).map_err(|_| String::new())?;
        settings.admin.ok_or_else(|| "there is no `[admin]` in the settings: name its address by `--admin`".to_owned())
    }

    fn ask<T: for<'a> Deserialize<'a>>(
        &self,
        path: &str,
        mut body: serde_json::Value,
        err: &mut dyn Write,
    ) -> Result<T, String> {
        let address = self.address(err)?;
        if !address.ip().to_canonical().is_loopback() {
            return Err(format!("`{address}` is another machine: a credential is sent to this one alone"));
        }
        if let Some(body) = body.as_object_mut() {
            body.insert("operator".to_owned(), json!(self.operator));
            body.insert("credential".to_owned(), json!(self.credential()?.as_str()));
        }
        let settings = client::Settings {
            url: format!("http://{address}").parse().map_err(|_| "no address".to_owned())?,
            ca: None,
            connect: Duration::from_secs(2),
            answer_bytes: ANSWER_BYTES,
        };
        let body = Zeroizing::new(body.to_string().into_bytes());
        let answer = Client::new(settings)?.send(Method::POST, path, HeaderMap::new(), body, TIME);
        let answer = answer.map_err(|failure| match failure {
            Failure::Unreachable => format!("nothing listens on `{address}`: does the program run, with `[admin]`?"),
            Failure::Slow => "the program did not answer in time".to_owned(),
            Failure::Broken => format!("what listens on `{address}` gave no answer that can be understood"),
        })?;
        match (answer.status, serde_json::from_slice::<Told>(&answer.body)) {
            (200 | 202, _) => {
                serde_json::from_slice(&answer.body).map_err(|_| "the answer cannot be understood".to_owned())
            }
            (404, Err(_)) => {
                Err("this program lets no operator turn tokens back: add `[reveal]` to its settings".to_owned())
            }
            (_, Ok(Told { error: Some(error), .. })) => Err(error),
            (status, _) => Err(format!("the program answered with status {status}")),
        }
    }
}
