//! Policy files for tests: the routes are what a test is about, the head is the same for all.

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

/// A partner's policy file in the making.
#[derive(Clone, Debug)]
pub struct Policy {
    pub(super) id: String,
    pub(super) key: String,
    partner: String,
    agreement: String,
    identify: String,
    limits: String,
    routes: String,
}

impl Policy {
    /// A partner who is known by an API key and has these routes.
    pub fn of(id: &str, routes: &str) -> Self {
        Self {
            id: id.to_owned(),
            key: format!("{id}-{}", super::unique()),
            partner: String::new(),
            agreement: String::new(),
            identify: "api_key = { header = \"x-api-key\", sha256 = [\"@key@\"] }".to_owned(),
            limits: String::new(),
            routes: routes.to_owned(),
        }
    }

    /// More lines under `[partner]`.
    pub fn partner(mut self, lines: &str) -> Self {
        lines.clone_into(&mut self.partner);
        self
    }

    /// More lines under `[agreement]`.
    pub fn agreement(mut self, lines: &str) -> Self {
        lines.clone_into(&mut self.agreement);
        self
    }

    /// What is under `[identify]`, instead of the API key. `@key@` is the key's digest; `certs/parcelo-ca.pem`,
    /// `certs/admira-ca.pem` and `certs/jwks.json` are there.
    pub fn identify(mut self, lines: &str) -> Self {
        lines.clone_into(&mut self.identify);
        self
    }

    /// What is under `[limits]`.
    pub fn limits(mut self, lines: &str) -> Self {
        lines.clone_into(&mut self.limits);
        self
    }

    /// The same partner with other routes.
    pub fn routes(mut self, routes: &str) -> Self {
        routes.clone_into(&mut self.routes);
        self
    }

    /// The file.
    pub fn text(&self) -> String {
        let Self { id, partner, agreement, identify, limits, routes, .. } = self;
        let digest = HEXLOWER.encode(&Sha256::digest(self.key.as_bytes()));
        format!(
            "[partner]\nid = \"{id}\"\nname = \"{id} Ltd\"\ncountries = [\"DE\"]\npurpose = \"service.delivery\"\n{partner}\n\n\
             [agreement]\nreference = \"DSA-1\"\n{agreement}\n\n[identify]\n{identify}\n\n[limits]\n{limits}\n\n{routes}\n"
        )
        .replace("@key@", &digest)
    }
}
