//! One exchange, top to bottom. Start at [`Proxy::handle`].

pub mod limits;
pub mod upstream;
