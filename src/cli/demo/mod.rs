//! `tidegate demo`: a sample upstream, two partners and the proxy on one machine.
//!
//! Not a test and not a template (`tidegate init` is). Everything that it needs is made in one folder and worth nothing
//! elsewhere; everything listens on loopback. Start at [`run`].

pub mod orders;
pub mod show;
pub mod stage;

use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::Exit;
use crate::app::App;
use crate::clock::Clock;
use crate::http::listener::{self, ConnectionLimits, Listener};
use crate::http::pace::Pace;
use crate::{config, telemetry};
use orders::Orders;
use show::{BOLD, Curl, DIM, PLAIN};
use stage::Stage;

/// What the command line says.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where settings, policies, keys, certificates and the record are put
    #[arg(long, value_name = "FOLDER", default_value = "tidegate-demo")]
    folder: PathBuf,
    /// Show an order before and after, and end
    #[arg(long)]
    once: bool,
}

/// Runs the command.
pub fn run(args: Args, out: &mut dyn Write, err: &mut dyn Write) -> Exit {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = writeln!(err, "demo: {error}");
            return Exit::Unusable;
        }
    };
    match runtime.block_on(play(&args, out)) {
        Ok(()) => Exit::Clean,
        Err(error) => {
            let _ = writeln!(err, "demo: {error}");
            Exit::Unusable
        }
    }
}

async fn play(args: &Args, out: &mut dyn Write) -> Result<(), String> {
    let stage = Stage::prepare(&args.folder)?;
    let (asked, mut heard) = unbounded_channel();
    let upstream = sample(Orders::new(asked)).await?;
    let url = format!("http://{}", upstream.address());
    let set = [
        format!("upstream.orders.url={url}"),
        format!("upstream.parcelo-api.url={url}"),
        // What runs well is told by the demo itself.
        "telemetry.level=warn".to_owned(),
    ];
    let settings = config::load(&stage.path("tidegate.toml"), std::iter::empty(), &set).map_err(|complaints| {
        complaints.iter().fold(String::new(), |mut text, complaint| {
            let _ = writeln!(text, "{}: {}: {}", complaint.place, complaint.key, complaint.message);
            text
        })
    })?;
    telemetry::init(&settings.telemetry);
    let app = App::start(settings, Clock::system()).await.map_err(|error| error.to_string())?;
    let scene = Scene::new(&stage, &app, url).ok_or("the settings of the demo's folder lack a listener")?;
    scene.show(out).await?;
    if !args.once {
        scene.invite(out).map_err(|error| error.to_string())?;
        // What was asked so far is what the scene shows.
        while heard.try_recv().is_ok() {}
        narrate(&mut heard, out).await;
    }
    app.stop().await;
    upstream.drain(Duration::from_secs(2)).await;
    Ok(())
}

async fn sample(orders: Orders) -> Result<Listener, String> {
    let second = Duration::from_secs(1);
    let limits = ConnectionLimits {
        handshake: second * 10,
        head: second * 10,
        idle: second * 60,
        taking: Pace { idle: second * 60, total: second * 300, rate: 1024 },
        head_bytes: 32 << 10,
        head_fields: 100,
        streams: 100,
        connections: 100,
    };
    let address = ([127, 0, 0, 1], 0).into();
    let settings = listener::Settings { name: "sample".to_owned(), address, tls: None, limits };
    Listener::start(settings, Arc::new(orders)).await.map_err(|error| error.to_string())
}

/// Prints what the APIs are asked, until Ctrl-C.
async fn narrate(heard: &mut UnboundedReceiver<String>, out: &mut dyn Write) {
    let stop = tokio::signal::ctrl_c();
    tokio::pin!(stop);
    loop {
        tokio::select! {
            _ = &mut stop => return,
            line = heard.recv() => {
                let Some(line) = line else { return };
                let _ = writeln!(out, "{DIM}  {line}{PLAIN}");
                let _ = out.flush();
            }
        }
    }
}

/// Who calls where, with what.
struct Scene<'a> {
    stage: &'a Stage,
    upstream: String,
    partners: String,
    inside: String,
    parcelo: Curl,
    admira: Curl,
}

impl<'a> Scene<'a> {
    fn new(stage: &'a Stage, app: &App, upstream: String) -> Option<Self> {
        let partners = format!("https://localhost:{}", app.address("partners")?.port());
        let inside = format!("http://{}", app.address("inside")?);
        let file = |name: &str| stage.path(name).display().to_string();
        let ca = file("certs/ca.pem");
        let admira = Curl::new(&["--cacert", &ca, "-H", &format!("x-api-key: {}", stage.admira_key)]);
        let parcelo = Curl::new(&["--cacert", &ca, "--cert", &file("partners/parcelo.pem")]).and(&[
            "--key",
            &file("partners/parcelo-tls.key"),
            "-H",
            &format!("x-api-key: {}", stage.parcelo_key),
        ]);
        Some(Self { stage, upstream, partners, inside, parcelo, admira })
    }

    /// One order before, and what each partner gets of it.
    async fn show(&self, out: &mut dyn Write) -> Result<(), String> {
        let order = orders::order(&orders::id(0)).unwrap_or_default();
        let parcelo = self.one_order(&self.parcelo).await?;
        let admira = self.one_order(&self.admira).await?;
        self.print(out, &order, &parcelo, &admira).map_err(|error| error.to_string())
    }

    /// A partner looks into its list of orders and reads the first: the line that it uses, and the answer.
    async fn one_order(&self, partner: &Curl) -> Result<(Curl, String), String> {
        let list = partner.clone().and(&[&format!("{}/v1/orders", self.partners)]).run().await?;
        let list: serde_json::Value =
            serde_json::from_str(&list).map_err(|_| format!("the list of orders was not as expected: {list}"))?;
        let token = list.pointer("/orders/0/id").and_then(serde_json::Value::as_str);
        let token = token.ok_or_else(|| format!("the list of orders was not as expected: {list}"))?;
        let line = partner.clone().and(&[&format!("{}/v1/orders/{token}", self.partners)]);
        let answer = line.run().await?;
        Ok((line, answer))
    }

    fn print(
        &self,
        out: &mut dyn Write,
        order: &str,
        (parcelo_line, parcelo): &(Curl, String),
        (admira_line, admira): &(Curl, String),
    ) -> io::Result<()> {
        let folder = self.stage.path("");
        writeln!(out, "\n{BOLD}Tidegate demo{PLAIN} (everything is on this machine, and every person is invented)\n")?;
        writeln!(out, "  our order API               {}", self.upstream)?;
        writeln!(out, "  Tidegate, for partners      {}", self.partners)?;
        writeln!(out, "  Tidegate, for ourselves     {}", self.inside)?;
        writeln!(out, "  settings, policies, record  {}", folder.display())?;
        writeln!(out, "\n{BOLD}An order, as our API has it, and what becomes of it for Parcelo, a courier{PLAIN}\n")?;
        show::legend(out)?;
        writeln!(out)?;
        show::before(out, order, parcelo)?;
        for (who, line, answer) in
            [("Parcelo", parcelo_line, parcelo), ("Admira, an advertising network,", admira_line, admira)]
        {
            writeln!(out, "\n{BOLD}What {who} gets{PLAIN}\n\n  {}\n", line.line())?;
            show::after(out, order, answer)?;
        }
        writeln!(out)?;
        out.flush()
    }

    /// What to try next.
    fn invite(&self, out: &mut dyn Write) -> io::Result<()> {
        let list = format!("{}/v1/orders", self.partners);
        let body = r#"{"order_ref":"ord-2026-1001","customer_ref":"cus-10017","parcel":{"weight_grams":120},"recipient":{"name":"Zoë Lindqvist","email":"zoe.lindqvist@mail.example"}}"#;
        let shipment = Curl::new(&["-H", "host: api.parcelo.internal", "-H", "content-type: application/json"]).and(&[
            "-d",
            body,
            &format!("{}/shipments", self.inside),
        ]);
        writeln!(out, "{BOLD}Try it: paste into another terminal, in this folder{PLAIN}\n")?;
        writeln!(
            out,
            "  # Parcelo: client certificate and API key\n  {}\n",
            self.parcelo.clone().and(&[&list]).line()
        )?;
        writeln!(out, "  # Admira: API key\n  {}\n", self.admira.clone().and(&[&list]).line())?;
        writeln!(out, "  # No credential\n  {}\n", Curl::new(&["--cacert", &self.ca(), &list]).line())?;
        writeln!(out, "  # We order a shipment at Parcelo: see below what reached it\n  {}\n", shipment.line())?;
        writeln!(
            out,
            "  # Who got what, by which rule\n  tail -n 3 {}/*.jsonl\n",
            self.stage.path("record").display()
        )?;
        writeln!(out, "  Change {} while this runs.", self.stage.path("policies/parcelo.toml").display())?;
        writeln!(out, "  Ctrl-C ends it.\n")?;
        out.flush()
    }

    fn ca(&self) -> String {
        self.stage.path("certs/ca.pem").display().to_string()
    }
}
