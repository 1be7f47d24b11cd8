//! Fixed names for the variants of an enum, so that they can be counted and logged.
//!
//! One table gives each variant's name and place. A variant that is missing in it does not compile.

/// Implements `NAMES`, `index` and `name` for an enum, from a table `Variant => "name"`.
macro_rules! names {
    ($type:ident { $($variant:ident => $name:literal,)+ }) => {
        impl $type {
            /// The names of all variants, in the order of [`index`](Self::index).
            pub(crate) const NAMES: [&str; [$($name),+].len()] = [$($name),+];

            /// Returns the place of this variant in [`NAMES`](Self::NAMES).
            pub(crate) fn index(&self) -> usize {
                enum Index { $($variant),+ }

                match self {
                    $(Self::$variant { .. } => Index::$variant as usize,)+
                }
            }

            /// Returns the fixed name of this variant, without its details.
            pub fn name(&self) -> &'static str {
                Self::NAMES[self.index()]
            }
        }
    };
}

pub(crate) use names;
