//! One exchange, top to bottom. Start at [`Proxy::handle`].

pub mod headers;
pub mod limits;
pub mod refuse;
pub mod upstream;
