//! Who gets how much of a price. **Every token goes to somebody, and none comes from nowhere.**

use crate::chain::transaction::Split;
use crate::identity::Identity;
use crate::limits;

/// What becomes of a price, all of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shares {
    /// What the treasury gets.
    pub fee: u64,
    /// What the sellers of the offers get that this one builds on, in the sequence of the offer. Never the seller itself.
    pub royalties: Vec<(Identity, u64)>,
    /// What the others get, in the sequence of the offer; the seller is the last where the offer does not name it.
    pub earned: Vec<(Identity, u64)>,
}

/// Divides a price: the fee comes off first; of what is left each royalty its part; of what is left then each split its part. Parts
/// are rounded down, and what that leaves is the seller's. A royalty that would go to the seller itself is left to the splits.
///
/// `royalties` are the sellers of the offers that this one builds on, with their parts in basis points. Nobody is named who gets nothing.
#[must_use]
pub fn divide(price: u64, fee: u64, seller: Identity, splits: &[Split], royalties: &[(Identity, u64)]) -> Shares {
    let fee = fee.min(price);
    let (base, mut left) = (price - fee, price - fee);
    let mut paid = Vec::new();
    for (to, bps) in royalties.iter().filter(|(to, _)| *to != seller) {
        let part = part(base, *bps).min(left);
        left -= part;
        paid.push((*to, part));
    }
    let base = left;
    let mut earned: Vec<(Identity, u64)> = Vec::new();
    for Split { to, bps } in splits {
        let part = part(base, *bps).min(left);
        left -= part;
        earned.push((*to, part));
    }
    match earned.iter_mut().find(|(to, _)| *to == seller) {
        Some((_, part)) => *part += left,
        None => earned.push((seller, left)),
    }
    paid.retain(|(_, part)| *part > 0);
    earned.retain(|(_, part)| *part > 0);
    Shares { fee, royalties: paid, earned }
}

fn part(of: u64, bps: u64) -> u64 {
    let part = u128::from(of) * u128::from(bps) / u128::from(limits::WHOLE_BPS);
    // No more than `of` for every part that the form of an offer allows.
    u64::try_from(part).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::desk::who;

    fn sum(shares: &Shares) -> u128 {
        let parts = shares.royalties.iter().chain(&shares.earned).map(|(_, part)| u128::from(*part));
        u128::from(shares.fee) + parts.sum::<u128>()
    }

    fn splits(parts: &[(u8, u64)]) -> Vec<Split> {
        parts.iter().map(|(to, bps)| Split { to: who(*to), bps: *bps }).collect()
    }

    #[test]
    fn a_price_is_divided_to_the_last_token() {
        let of = |price, fee, parts: &[(u8, u64)], royalties: &[(u8, u64)]| {
            let royalties: Vec<_> = royalties.iter().map(|(to, bps)| (who(*to), *bps)).collect();
            divide(price, fee, who(0), &splits(parts), &royalties)
        };
        let shares = |fee, royalties: &[(u8, u64)], earned: &[(u8, u64)]| {
            let named = |parts: &[(u8, u64)]| parts.iter().map(|(to, part)| (who(*to), *part)).collect();
            Shares { fee, royalties: named(royalties), earned: named(earned) }
        };
        // Without splits all is the seller's.
        assert_eq!(of(250, 6, &[], &[]), shares(6, &[], &[(0, 244)]));
        assert_eq!(of(0, 0, &[], &[(1, 10_000)]), shares(0, &[], &[]));
        // 250, 2.5 % off: 244; 5 % of it to 3: 12; of the 232 left 70 % and 30 %: 162 and 69, and 1 for the seller.
        let docs = of(250, 6, &[(1, 7_000), (2, 3_000)], &[(3, 500)]);
        assert_eq!(docs, shares(6, &[(3, 12)], &[(1, 162), (2, 69), (0, 1)]));
        // The seller's own part takes the rest in.
        assert_eq!(of(101, 0, &[(0, 5_000), (1, 5_000)], &[]), shares(0, &[], &[(0, 51), (1, 50)]));
        // A royalty to oneself is none; all of it to others leaves nothing.
        assert_eq!(of(100, 0, &[], &[(0, 9_000)]), shares(0, &[], &[(0, 100)]));
        assert_eq!(of(100, 50, &[(1, 10_000)], &[(2, 10_000)]), shares(50, &[(2, 50)], &[]));
        // The most there can be.
        let most = limits::AMOUNT_MAX;
        assert_eq!(of(most, most / 2, &[(1, 10_000)], &[]), shares(most / 2, &[], &[(1, most - most / 2)]));
    }

    proptest! {
        #[test]
        fn no_token_is_made_or_lost(
            price in prop_oneof![0..1_000u64, Just(limits::AMOUNT_MAX), any::<u64>()],
            fee_bps in 0..=5_000u64,
            cuts in prop::collection::vec(1..9_999u64, 0..limits::OFFER_SPLITS),
            royalties in prop::collection::vec((0..6u8, 1..600u64), 0..limits::OFFER_ROYALTIES),
        ) {
            // Any parts that come to a whole: the pieces between distinct cuts.
            let mut cuts = cuts;
            cuts.extend([0, 10_000]);
            cuts.sort_unstable();
            cuts.dedup();
            let parts: Vec<(u8, u64)> = (0..).zip(cuts.windows(2).map(|pair| pair[1] - pair[0])).collect();
            let fee = part(price, fee_bps);
            let royalties: Vec<_> = royalties.iter().map(|(to, bps)| (who(*to), *bps)).collect();
            let shares = divide(price, fee, who(2), &splits(&parts), &royalties);
            prop_assert_eq!(sum(&shares), u128::from(price));
            prop_assert_eq!(shares.fee, fee);
            prop_assert!(shares.royalties.iter().all(|(to, _)| *to != who(2)), "a royalty to oneself");
            // By the definition: nobody but the seller gets more than its part, nor a whole token less.
            let left = u128::from(price - fee);
            let due: u128 = royalties.iter().filter(|(to, _)| *to != who(2)).map(|(_, bps)| left * u128::from(*bps) / 10_000).sum();
            prop_assert_eq!(shares.royalties.iter().map(|(_, part)| u128::from(*part)).sum::<u128>(), due);
            for (to, bps) in parts {
                let got = shares.earned.iter().find(|(whom, _)| *whom == who(to)).map_or(0, |(_, part)| *part);
                let exact = (left - due) * u128::from(bps) / 10_000;
                prop_assert!(u128::from(got) == exact || to == 2 && u128::from(got) >= exact);
            }
        }
    }
}
