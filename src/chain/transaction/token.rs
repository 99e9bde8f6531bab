//! The group's tokens: where they come from, where they go, and by which rules.

use serde::{Deserialize, Serialize};

use super::{FormError, amount};
use crate::cbor::cbor_array;
use crate::identity::Identity;
use crate::limits;

cbor_array! {
    /// Makes tokens.
    pub struct Mint {
        /// For whom.
        pub to: Identity,
        /// How many.
        pub amount: u64,
    }

    /// Gives tokens of the author's to another; the group's fee comes on top.
    pub struct Transfer {
        /// To whom.
        pub to: Identity,
        /// How many arrive.
        pub amount: u64,
    }

    /// Pays out of the treasury.
    pub struct TreasuryPay {
        /// To whom.
        pub to: Identity,
        /// How many.
        pub amount: u64,
    }
}

/// Changes rules of the group: those that are named, and no other. In CBOR a map from the rule's name to its value, which is why
/// the fields stand in the order of such keys: by length, then by letters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyUpdate {
    /// Whether nodes show the group to peers that are no members.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listed: Option<bool>,
    /// Tokens that an identity gets when it first becomes a member.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub faucet_amount: Option<u64>,
    /// The most tokens that there may be; 0 for no bound of the group's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_total_supply: Option<u64>,
    /// What a transfer costs on top, in basis points of the amount.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transfer_fee_bps: Option<u64>,
    /// Tokens that a claim earns its author.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim_reward_amount: Option<u64>,
    /// The most tokens that one account may come to; 0 for no bound of the group's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_account_balance: Option<u64>,
}

impl PolicyUpdate {
    /// Checks that something is changed, and each value's bound.
    ///
    /// # Errors
    /// [`FormError`] names the field and the rule.
    pub fn check(&self) -> Result<(), FormError> {
        let Self {
            faucet_amount,
            claim_reward_amount,
            transfer_fee_bps,
            max_total_supply,
            max_account_balance,
            listed,
        } = *self;
        if *self == Self::default() {
            return Err(FormError::NoChange);
        }
        for (field, value, max) in [
            ("faucet_amount", faucet_amount, limits::AMOUNT_MAX),
            ("claim_reward_amount", claim_reward_amount, limits::AMOUNT_MAX),
            ("transfer_fee_bps", transfer_fee_bps, limits::TRANSFER_FEE_BPS),
            ("max_total_supply", max_total_supply, limits::AMOUNT_MAX),
            ("max_account_balance", max_account_balance, limits::AMOUNT_MAX),
            ("listed", listed.map(u64::from), 1),
        ] {
            amount(field, value.unwrap_or_default(), 0, max)?;
        }
        Ok(())
    }
}
