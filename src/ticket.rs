//! Tickets: one string that lets its bearer into a group, and says where to ask.
//!
//! Owns the string's form: `lbm1…`, bech32m ([BIP 350](https://github.com/bitcoin/bips/blob/master/bip-0350.mediawiki)), so that a fault in
//! copying is noticed, and capitals are as good as small letters. Pure. **Who has the string has the secret**: it is shown once, is kept
//! by nobody but who joins, and never goes over the wire. What the secret proves, and to whom, is
//! [`MemberJoin`]'s.

use bech32::primitives::decode::{CheckedHrpstring, CheckedHrpstringError};
use bech32::{Bech32m, Hrp};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_bytes::{ByteArray, ByteBuf};

use crate::cbor::{self, cbor_array};
use crate::chain::transaction::{MemberJoin, Secret};
use crate::chain::{BlockId, GroupId, Role};
use crate::identity::{Identity, SecretKey};
use crate::limits;

/// The version of the format, the first element of the content.
pub const VERSION: u8 = 1;

/// What every ticket begins with.
pub const PREFIX: &str = "lbm1";

const HRP: Hrp = Hrp::parse_unchecked("lbm");

cbor_array! {
    /// A seal that the group has, so that nobody can be shown another history of it: no node takes back what was sealed for long.
    #[derive(Copy)]
    pub struct Checkpoint {
        /// Its number.
        pub epoch: u64,
        /// The first 16 bytes of the id of its block.
        pub block: ByteArray<16>,
    }

    /// A member to ask.
    pub struct Contact {
        /// Who.
        pub member: Identity,
        /// Where: multiaddresses in bytes, without `/p2p/`, the best first.
        pub addresses: Vec<ByteBuf>,
    }
}

impl Checkpoint {
    /// Whether a seal is this one.
    #[must_use]
    pub fn is(&self, block: &BlockId) -> bool {
        block.as_bytes().starts_with(&*self.block)
    }
}

/// A ticket.
#[derive(Clone, PartialEq, Eq)]
pub struct Ticket {
    /// The group.
    pub group: GroupId,
    /// What people call it; left out where it is long.
    pub name: Option<String>,
    /// As what it lets in.
    pub role: Role,
    /// From when on it lets nobody in, milliseconds since 1970 UTC.
    pub expires_ms: u64,
    /// The seed of the key whose public half the group's ledger has.
    pub seed: Secret,
    /// The group's own secret, by which members find one another.
    pub discovery_secret: Secret,
    /// The last seal when it was made; none where nothing but the founding was sealed.
    pub checkpoint: Option<Checkpoint>,
    /// Whom to ask, who made it first.
    pub contacts: Vec<Contact>,
}

impl std::fmt::Debug for Ticket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ticket").field("group", &self.group).field("role", &self.role).finish_non_exhaustive()
    }
}

type Fields = (u8, GroupId, Option<String>, Role, u64, Secret, Secret, Option<Checkpoint>, Vec<Contact>);

impl Serialize for Ticket {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { group, name, role, expires_ms, seed, discovery_secret, checkpoint, contacts } = self;
        (VERSION, group, name, role, expires_ms, seed, discovery_secret, checkpoint, contacts).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Ticket {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (version, group, name, role, expires_ms, seed, discovery_secret, checkpoint, contacts): Fields =
            Deserialize::deserialize(deserializer)?;
        if version != VERSION {
            return Err(serde::de::Error::custom(format_args!("ticket version {version}; this node knows {VERSION}")));
        }
        Ok(Self { group, name, role, expires_ms, seed, discovery_secret, checkpoint, contacts })
    }
}

/// Why a string is no ticket. Each says what to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TicketError {
    /// It does not begin as one.
    #[error("this is no ticket: one begins with lbm1, as `lbm ctl group invite` prints it")]
    Prefix,
    /// A letter is wrong, missing or one too many.
    #[error("the ticket is damaged, a letter is wrong or missing: copy it again, all of it")]
    Damaged,
    /// Of another version.
    #[error("the ticket is of format {0}, and this lbm knows {VERSION}: upgrade lbm on the older machine")]
    Version(u8),
    /// Its letters are right, and what they say is none.
    #[error("the ticket says nothing that this lbm understands: ask for a new one (`lbm ctl group invite`)")]
    Content,
    /// More than fits.
    #[error("the ticket would have {0} bytes, more than {max}: leave addresses out", max = limits::TICKET_BYTES)]
    TooLong(usize),
}

impl Ticket {
    /// The key that it proves to have.
    #[must_use]
    pub fn key(&self) -> SecretKey {
        SecretKey::from_seed(&self.seed.0)
    }

    /// What lets `identity` in.
    #[must_use]
    pub fn prove(&self, identity: Identity) -> MemberJoin {
        MemberJoin::prove(&self.key(), &self.group, identity)
    }

    /// Leaves out what does not fit: addresses behind the first of each member from the last on, then members from the last on.
    pub fn fit(&mut self) {
        if self.name.as_ref().is_some_and(|name| name.len() > limits::TICKET_NAME_BYTES) {
            self.name = None;
        }
        self.contacts.truncate(limits::TICKET_MEMBERS);
        for contact in &mut self.contacts {
            contact.addresses.retain(|address| address.len() <= limits::TICKET_ADDRESS_BYTES);
            contact.addresses.truncate(limits::TICKET_ADDRESSES);
        }
        while cbor::encode(self).len() > limits::TICKET_BYTES {
            // The inviter keeps all of its addresses as long as there is anybody else.
            if self.contacts.len() > 1 {
                match self.contacts.iter_mut().skip(1).rfind(|contact| contact.addresses.len() > 1) {
                    Some(contact) => drop(contact.addresses.pop()),
                    None => drop(self.contacts.pop()),
                }
            } else if self.contacts.pop().is_none() && self.name.take().is_none() {
                break;
            }
        }
    }

    /// The string.
    ///
    /// # Errors
    /// [`TicketError::TooLong`]: [`Ticket::fit`] has not been called.
    pub fn to_text(&self) -> Result<String, TicketError> {
        let bytes = cbor::encode(self);
        if bytes.len() > limits::TICKET_BYTES {
            return Err(TicketError::TooLong(bytes.len()));
        }
        bech32::encode_lower::<Bech32m>(HRP, &bytes).map_err(|_| TicketError::TooLong(bytes.len()))
    }

    /// Reads a string; white space around and in it, as a terminal or a mail breaks lines, counts for nothing.
    ///
    /// # Errors
    /// [`TicketError`] says what is wrong with it.
    pub fn from_text(text: &str) -> Result<Self, TicketError> {
        let letters: String =
            text.chars().filter(|letter| !letter.is_whitespace()).take(limits::TICKET_CHARS + 1).collect();
        if !letters.get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX)) {
            return Err(TicketError::Prefix);
        }
        let read = CheckedHrpstring::new::<Bech32m>(&letters);
        let bytes: Vec<u8> = read.map_err(|_: CheckedHrpstringError| TicketError::Damaged)?.byte_iter().collect();
        // An array header, and the version as its first element: so much of the form stays in every version.
        if let [0x80..=0x97, version @ 0..=23, ..] = *bytes
            && version != VERSION
        {
            return Err(TicketError::Version(version));
        }
        let ticket: Self = cbor::decode(&bytes, limits::TICKET_BYTES).map_err(|_| TicketError::Content)?;
        let fits = ticket.name.as_ref().is_none_or(|name| {
            let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, ':' | '_' | '-');
            (1..=limits::TICKET_NAME_BYTES).contains(&name.len()) && name.chars().all(is_plain)
        });
        let known = ticket.contacts.iter().all(|contact| {
            let short = |address: &ByteBuf| address.len() <= limits::TICKET_ADDRESS_BYTES;
            contact.member.is_usable()
                && contact.addresses.len() <= limits::TICKET_ADDRESSES
                && contact.addresses.iter().all(short)
        });
        if fits && known && ticket.contacts.len() <= limits::TICKET_MEMBERS {
            Ok(ticket)
        } else {
            Err(TicketError::Content)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn contact(number: u8, addresses: &[&[u8]]) -> Contact {
        let member = SecretKey::from_seed(&[number; 32]).identity();
        Contact { member, addresses: addresses.iter().map(|bytes| ByteBuf::from(bytes.to_vec())).collect() }
    }

    fn ticket(contacts: Vec<Contact>) -> Ticket {
        Ticket {
            group: GroupId::from_bytes([1; 32]),
            name: Some("domain:research".into()),
            role: Role::Member,
            expires_ms: 1_800_000_000_000,
            seed: Secret([2; 32]),
            discovery_secret: Secret([3; 32]),
            checkpoint: Some(Checkpoint { epoch: 70_000, block: ByteArray::new([4; 16]) }),
            contacts,
        }
    }

    const TCP: &[u8] = &[4, 192, 168, 1, 7, 6, 0x1c, 0xa9];

    #[test]
    fn a_ticket_comes_back_whatever_was_done_to_its_letters_in_between() {
        let made = ticket(vec![contact(1, &[TCP, TCP]), contact(2, &[TCP])]);
        let text = made.to_text().unwrap();
        assert!(text.starts_with(PREFIX) && text.len() <= 426, "{} letters", text.len());
        let (first, second) = text.split_at(77);
        for changed in [text.clone(), text.to_uppercase(), format!("  {first}\r\n {second}\n")] {
            assert_eq!(Ticket::from_text(&changed), Ok(made.clone()), "{changed}");
        }
        assert!(!format!("{made:?}").contains("2, 2"), "no secret is shown");
    }

    #[test]
    fn it_is_kept_short_enough_for_a_code_that_a_telephone_reads() {
        let long = [0x29; limits::TICKET_ADDRESS_BYTES];
        for members in 0..9 {
            let contacts = (0..members).map(|number| contact(number + 1, &[&long, TCP, TCP])).collect();
            let mut made = ticket(contacts);
            made.name = Some("n".repeat(limits::TICKET_NAME_BYTES + usize::from(members)));
            made.checkpoint = Some(Checkpoint { epoch: u64::MAX, block: ByteArray::new([4; 16]) });
            made.fit();
            let text = made.to_text().unwrap();
            assert!(text.len() <= 426, "{members}: {} letters", text.len());
            assert_eq!(Ticket::from_text(&text), Ok(made.clone()));
            assert!(members == 0 || !made.contacts.is_empty(), "the inviter stays in");
        }
    }

    #[test]
    fn what_is_no_ticket_is_told_apart() {
        let text = ticket(vec![contact(1, &[TCP])]).to_text().unwrap();
        for other in ["", "lbm", "5f0c", "12D3KooWxyz", "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq"] {
            assert_eq!(Ticket::from_text(other), Err(TicketError::Prefix), "{other}");
        }
        assert_eq!(Ticket::from_text(&text[..text.len() - 1]), Err(TicketError::Damaged));
        assert_eq!(Ticket::from_text(&format!("{text}q")), Err(TicketError::Damaged));
        assert_eq!(Ticket::from_text(&"lbm1".repeat(5_000)), Err(TicketError::Damaged));
        let of = |bytes: &[u8]| bech32::encode_lower::<Bech32m>(HRP, bytes).unwrap();
        assert_eq!(Ticket::from_text(&of(&[0x82, 2, 0])), Err(TicketError::Version(2)));
        assert_eq!(Ticket::from_text(&of(&[0x82, 1, 0])), Err(TicketError::Content));
        // Each of these has letters that are right, and says what no ticket says.
        let wrong = [
            Ticket { name: Some("a\u{1b}[31m".into()), ..ticket(vec![]) },
            Ticket { name: Some(String::new()), ..ticket(vec![]) },
            ticket((0..5).map(|number| contact(number, &[])).collect()),
            ticket(vec![contact(1, &[TCP, TCP, TCP])]),
            ticket(vec![contact(1, &[&[0; limits::TICKET_ADDRESS_BYTES + 1]])]),
            ticket(vec![Contact { member: Identity::from_stored([0; 32]), addresses: vec![] }]),
        ];
        for ticket in wrong {
            assert_eq!(Ticket::from_text(&of(&cbor::encode(&ticket))), Err(TicketError::Content), "{ticket:?}");
        }
    }

    proptest! {
        #[test]
        fn a_wrong_letter_is_noticed_wherever_it_stands(at in 4usize..300, letter in "[02-9ac-hj-np-z]") {
            let text = ticket(vec![contact(1, &[TCP, TCP])]).to_text().unwrap();
            prop_assume!(at < text.len() && text[at..=at] != letter);
            let changed = format!("{}{letter}{}", &text[..at], &text[at + 1..]);
            prop_assert_eq!(Ticket::from_text(&changed), Err(TicketError::Damaged));
        }

        #[test]
        fn nothing_that_is_pasted_is_more_than_refused(text in "(lbm1)?\\PC{0,200}") {
            prop_assert!(Ticket::from_text(&text).is_err());
        }
    }
}
