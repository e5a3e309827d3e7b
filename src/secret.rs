//! A value that must not be seen: never printed, wiped when it goes.
//!
//! Not a vault: it keeps a value out of `Debug`, not out of memory. Start at [`Secret`].

use std::fmt;

use zeroize::{Zeroize, Zeroizing};

/// Holds a value that prints as `[secret]` and is overwritten with zeros when it is dropped.
#[derive(Clone)]
pub struct Secret<T: Zeroize>(Zeroizing<T>);

impl<T: Zeroize> Secret<T> {
    /// Takes the value into custody.
    pub fn new(value: T) -> Self {
        Self(Zeroizing::new(value))
    }

    /// The value itself, for the one who needs it now. The name is long so that it is seen in a review.
    pub fn expose_secret(&self) -> &T {
        &self.0
    }

    /// As [`Self::expose_secret`], to fill it in place: a value that is made elsewhere and moved in leaves a copy behind.
    pub fn expose_secret_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T: Zeroize> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_does_not_print_its_value() {
        assert_eq!(format!("{:?}", Secret::new("anna".to_owned())), "[secret]");
    }

    #[test]
    fn a_secret_can_be_filled_in_place() {
        let mut secret = Secret::new([0; 4]);
        secret.expose_secret_mut().copy_from_slice(b"anna");
        assert_eq!(secret.expose_secret(), b"anna");
    }
}
