//! The store in memory keeps the contract, but for what lasts.

use std::sync::Arc;

use tidegate::vault::store::TokenStore;
use tidegate::vault::store::memory::Memory;

use crate::conformance::Place;

struct InMemory(Arc<Memory>);

impl Place for InMemory {
    async fn new() -> Self {
        Self(Arc::default())
    }

    async fn open(&self) -> Arc<dyn TokenStore> {
        Arc::clone(&self.0) as Arc<dyn TokenStore>
    }

    async fn restart(&self) {}
}

conformance!(InMemory, always);
