//! Tokens with roles: what their holders may do, and for how long.

use std::{fmt, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// What a peer may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TokenRole {
    /// Send faces.
    Publish,
    /// Receive faces.
    View,
    /// See statistics, and use the remote control by HTTP: takes, phones, calibration, tokens.
    Direct,
}

impl TokenRole {
    const EVERY: [Self; 3] = [Self::Publish, Self::View, Self::Direct];

    /// `publish`, `view` or `direct`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::View => "view",
            Self::Direct => "direct",
        }
    }
}

impl fmt::Display for TokenRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Some of the roles.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Roles(u8);

impl Roles {
    /// Every role.
    pub const ALL: Self = Self(u8::MAX);
    /// No role.
    pub const NONE: Self = Self(0);

    /// With this one too.
    #[must_use]
    pub const fn with(self, role: TokenRole) -> Self {
        Self(self.0 | 1 << role as u8)
    }

    /// Whether this one is among them.
    pub const fn has(self, role: TokenRole) -> bool {
        self.0 & 1 << role as u8 != 0
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        TokenRole::EVERY.into_iter().all(|role| !self.has(role))
    }

    fn iter(self) -> impl Iterator<Item = TokenRole> {
        TokenRole::EVERY.into_iter().filter(move |role| self.has(*role))
    }
}

impl From<TokenRole> for Roles {
    fn from(role: TokenRole) -> Self {
        Self::NONE.with(role)
    }
}

impl FromIterator<TokenRole> for Roles {
    fn from_iter<T: IntoIterator<Item = TokenRole>>(roles: T) -> Self {
        roles.into_iter().fold(Self::NONE, Self::with)
    }
}

impl fmt::Debug for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl Serialize for Roles {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for Roles {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "must be `publish`, `view`, `direct`, or a list of them")]
        enum Given {
            One(TokenRole),
            Several(Vec<TokenRole>),
        }
        let roles: Self = match Given::deserialize(deserializer)? {
            Given::One(role) => role.into(),
            Given::Several(roles) => roles.into_iter().collect(),
        };
        if roles.is_empty() { Err(D::Error::custom("must name a role")) } else { Ok(roles) }
    }
}

/// A token to be made, in addition to the pairing token, which has every role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenOptions {
    /// What its holders may do.
    pub roles: Roles,
    /// The token itself; a random one is made without it.
    pub token: Option<String>,
    /// What it is for, for the list of tokens.
    pub name: Option<String>,
    /// It holds for this long, and then its connections are closed; until it is withdrawn without one.
    pub expires_in: Option<Duration>,
}

impl TokenOptions {
    /// A random token that holds until it is withdrawn.
    pub fn new(roles: impl Into<Roles>) -> Self {
        Self { roles: roles.into(), token: None, name: None, expires_in: None }
    }
}

/// Names a token that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct TokenId(pub u64);

/// A token that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct IssuedToken {
    /// By which it is withdrawn.
    pub id: TokenId,
    /// What is shown.
    pub token: String,
}

/// A token, without itself.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct TokenStatus {
    /// By which it is withdrawn.
    pub id: TokenId,
    /// What its holders may do.
    pub roles: Roles,
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// It expires after this time, seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_in_seconds: Option<f64>,
    /// Connections of its holders.
    pub connections: usize,
}
