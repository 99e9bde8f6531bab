//! Schemas of the types that this module borrows from the pure layers, which know nothing of descriptions.

use std::borrow::Cow;

use utoipa::openapi::schema::{AdditionalProperties, ObjectBuilder, Schema, SchemaType, Type};
use utoipa::openapi::{KnownFormat, RefOr, SchemaFormat};
use utoipa::{PartialSchema, ToSchema};

use super::{PolicyUpdate, PresenceStatus, Role, Settlement, TaskStatus};
use crate::identity::Identity;
use crate::limits;

macro_rules! named {
    ($($name:ident),+) => {
        $(impl ToSchema for $name {
            fn name() -> Cow<'static, str> {
                Cow::Borrowed(stringify!($name))
            }
        })+
    };
}

named!(Identity, Role, TaskStatus, PresenceStatus, Settlement, PolicyUpdate);

impl PartialSchema for Identity {
    fn schema() -> RefOr<Schema> {
        let text = ObjectBuilder::new().schema_type(Type::String).pattern(Some("^12D3KooW[1-9A-HJ-NP-Za-km-z]{44}$"));
        text.description(Some("An identity: the libp2p peer id of an Ed25519 key.")).into()
    }
}

fn words<'w>(description: &str, words: impl IntoIterator<Item = &'w str>) -> RefOr<Schema> {
    let text = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words));
    text.description(Some(description)).into()
}

impl PartialSchema for Role {
    fn schema() -> RefOr<Schema> {
        words("What a member may do.", [Self::Viewer, Self::Member, Self::Admin].map(Self::word))
    }
}

impl PartialSchema for TaskStatus {
    fn schema() -> RefOr<Schema> {
        words("How a task stands.", Self::ALL.map(Self::word))
    }
}

impl PartialSchema for PresenceStatus {
    fn schema() -> RefOr<Schema> {
        words("What somebody is up to.", [Self::Active, Self::Idle, Self::Busy, Self::Offline].map(Self::word))
    }
}

impl PartialSchema for Settlement {
    fn schema() -> RefOr<Schema> {
        let description = "When a purchase is granted: once it is final, or at once, at the seller's risk.";
        words(description, [Self::Sealed, Self::AtOnce].map(Self::word))
    }
}

impl PartialSchema for PolicyUpdate {
    fn schema() -> RefOr<Schema> {
        let number = |most: u64, description| {
            let number = ObjectBuilder::new().schema_type(SchemaType::from_iter([Type::Integer, Type::Null]));
            let number = number.format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)));
            number.minimum(Some(0)).maximum(Some(most as i64)).description(Some(description))
        };
        let listed = ObjectBuilder::new().schema_type(SchemaType::from_iter([Type::Boolean, Type::Null]));
        let amount = |description| number(limits::AMOUNT_MAX, description);
        ObjectBuilder::new()
            .description(Some("Changes rules of the group: those that are named, and no other; at least one."))
            .property("listed", listed.description(Some("Whether nodes show the group to peers that are no members.")))
            .property("faucet_amount", amount("Tokens that an identity gets when it first becomes a member."))
            .property(
                "max_total_supply",
                amount("The most tokens that there may be; 0 for no bound of the group's own."),
            )
            .property(
                "transfer_fee_bps",
                number(limits::TRANSFER_FEE_BPS, "What a transfer costs on top, in basis points of the amount."),
            )
            .property("claim_reward_amount", amount("Tokens that a claim earns its author."))
            .property(
                "max_account_balance",
                amount("The most tokens that one account may come to; 0 for no bound of the group's own."),
            )
            .additional_properties(Some(AdditionalProperties::<Schema>::FreeForm(false)))
            .into()
    }
}
