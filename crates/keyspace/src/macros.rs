//! The two shapes that nearly every family has, written once: a key of names, and a JSON object with members.

/// Declares a key type: its path, DM's adapter for it, and its segments in order.
macro_rules! key_family {
    (
        $(#[$doc:meta])*
        $name:ident = $path:literal, $adapter:literal, $spelling:ident {
            $( $(#[$field_doc:meta])* $field:ident: $type:ty ),+ $(,)?
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub struct $name {
            $( $(#[$field_doc])* pub $field: $type ),+
        }

        impl $name {
            /// What every key of the family begins with, and no other key does.
            pub const PREFIX: &'static str = $path;
            /// The shape of the family as DM knows it.
            pub const ADAPTER: $crate::Adapter = $crate::Adapter::new(
                $adapter,
                $path,
                [$(stringify!($field)),+].len(),
                $crate::Spelling::$spelling,
            );

            /// The key in etcd. With an empty name it is a key that never exists.
            pub fn encode(&self) -> String {
                Self::ADAPTER.encode(&[$(self.$field.as_str()),+])
            }

            /// Reads the names back from a key of this family.
            pub fn parse(key: &[u8]) -> Result<Self, $crate::KeyError> {
                let mut names = Self::ADAPTER.names(key)?.into_iter();
                Ok(Self { $($field: names.next().unwrap_or_default().into()),+ })
            }
        }
    };
}

/// Declares a record that is a JSON object: its members in the order in which DM writes them, each with its
/// name; then, under `ours`, members that only our own programs know; `canonical_when` names the flag that
/// forbids anything but DM's own members in the written form.
macro_rules! record {
    (
        $(#[$doc:meta])*
        $name:ident as $kind:literal {
            $( $(#[$field_doc:meta])* $field:ident: $type:ty = $member:literal ),+ $(,)?
        }
        $( ours { $( $(#[$our_doc:meta])* $our:ident: $our_type:ty = $our_member:literal ),+ $(,)? } )?
        $( canonical_when $flag:ident )?
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, Eq, PartialEq)]
        pub struct $name {
            $( $(#[$field_doc])* pub $field: $type, )+
            $($( $(#[$our_doc])* pub $our: $our_type, )+)?
            /// Members that this version does not know, kept for the next writer.
            pub extra: $crate::Extra,
        }

        impl $name {
            /// Reads the value by the rules of DM's readers: names without regard to case, the last of
            /// repeated members, a zero value for what is missing or null.
            pub fn from_bytes(value: &[u8]) -> Result<Self, $crate::ValueError> {
                let mut record = Self::default();
                let text = $crate::json::text(value);
                for (name, json) in $crate::json::members($kind, &text)? {
                    match $crate::json::fold(&name).as_str() {
                        $( $member => $crate::json::read($kind, $member, &mut record.$field, json)?, )+
                        $($( $our_member => $crate::json::read($kind, $our_member, &mut record.$our, json)?, )+)?
                        _ => record.extra.keep(name.into_owned(), json),
                    }
                }
                Ok(record)
            }

            /// The value to put into etcd, with the members that are not DM's where they are allowed.
            pub fn to_bytes(&self) -> Vec<u8> {
                self.write(true $( && !self.$flag )?)
            }

            /// The value as DM's own programs write it: their members only. Guards compare with this form.
            pub fn to_canonical_bytes(&self) -> Vec<u8> {
                self.write(false)
            }

            fn write(&self, foreign_members: bool) -> Vec<u8> {
                let mut object = $crate::json::Object::default();
                $( object.member($member, &self.$field); )+
                if foreign_members {
                    $($( object.member($our_member, &self.$our); )+)?
                    object.extra(&self.extra);
                }
                object.finish()
            }
        }
    };
}

pub(crate) use {key_family, record};
