//! Why somebody whom a group's blocks have named is no member of it.

use serde::{Deserialize, Serialize};

/// Why somebody whom a block has named as a member is none now. To everybody else nothing is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gone {
    /// An admin has removed it.
    Removed,
    /// It has left.
    Left,
    /// Its ticket's time was over where its joining came to stand.
    TicketExpired,
    /// Its ticket had let in as many others before it.
    TicketUsedUp,
    /// Its ticket had been revoked.
    TicketRevoked,
    /// Who made its ticket was no admin any more.
    InviterGone,
    /// The group was full.
    GroupFull,
    /// Who let it in could not: it was no member itself, or no admin.
    NotLetIn,
}

impl Gone {
    /// Every reason.
    pub const ALL: [Self; 8] = [
        Self::Removed,
        Self::Left,
        Self::TicketExpired,
        Self::TicketUsedUp,
        Self::TicketRevoked,
        Self::InviterGone,
        Self::GroupFull,
        Self::NotLetIn,
    ];

    /// Its word: that of the message, and of the ledger's refusal where there is one.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Removed => "removed",
            Self::Left => "left",
            Self::TicketExpired => "ticket_expired",
            Self::TicketUsedUp => "ticket_used_up",
            Self::TicketRevoked => "ticket_revoked",
            Self::InviterGone => "inviter_gone",
            Self::GroupFull => "group_full",
            Self::NotLetIn => "not_let_in",
        }
    }

    /// Whether a ticket lets it in again. Whom an admin has removed is let in by name alone.
    #[must_use]
    pub const fn may_come_by_ticket(self) -> bool {
        !matches!(self, Self::Removed)
    }

    /// What it means, as the end of a sentence about the identity.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Removed => "an admin has removed it",
            Self::Left => "it has left",
            Self::TicketExpired => "its ticket had expired where its joining stands in the order",
            Self::TicketUsedUp => "its ticket had let in others before it",
            Self::TicketRevoked => "its ticket had been revoked",
            Self::InviterGone => "who made its ticket was no admin any more",
            Self::GroupFull => "the group was full",
            Self::NotLetIn => "who let it in could not",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Gone;

    #[test]
    fn a_word_is_what_is_sent() {
        for gone in Gone::ALL {
            assert_eq!(serde_json::to_value(gone).unwrap(), gone.word());
        }
    }
}
