//! The one file that names the erasure library: parity out of data lanes, lost lanes out of any k.
//!
//! The code is ISA-L's Cauchy Reed-Solomon over GF(2^8) with the polynomial 0x11d: parity lane `i`, data lane `j` have the
//! coefficient `1 / ((k + i) xor j)`. It works byte by byte, so a range of a lane needs only the same range of the others.

use rusty_erasure::{Coder, Matrix, coder};
use std::fmt;

/// The code of one shape, k + m.
pub(crate) struct Erasure {
    data: usize,
    /// `None` without parity: there is nothing to compute.
    coder: Option<Coder>,
}

impl Erasure {
    /// The code for `data` + `parity` lanes, which the configuration has checked to be within the library's limits.
    pub(crate) fn new(data: usize, parity: usize) -> Self {
        let build =
            || coder(Matrix::cauchy(data, parity).expect("k + m <= 20 is a Cauchy matrix")).expect("a sound matrix");
        Self { data, coder: (parity > 0).then(build) }
    }

    /// Fills the parity lanes; all lanes have the same length.
    pub(crate) fn encode(&self, data: &[&[u8]], parity: &mut [&mut [u8]]) {
        if let Some(coder) = &self.coder
            && data.first().is_some_and(|lane| !lane.is_empty())
        {
            coder.encode(data, parity).expect("as many lanes of one length as the code was made for");
        }
    }

    /// Rebuilds the lanes `wanted` from the lanes that are there, all of one length; `None` when fewer than k are.
    pub(crate) fn rebuild(&self, lanes: &[Option<&[u8]>], wanted: &[usize]) -> Option<Vec<Vec<u8>>> {
        let present = lanes.iter().flatten().count();
        let length = lanes.iter().flatten().next()?.len();
        let coder = self.coder.as_ref()?;
        if present < self.data {
            return None;
        }
        let mut rebuilt = vec![vec![0; length]; wanted.len()];
        if length > 0 && !wanted.is_empty() {
            let mut targets: Vec<&mut [u8]> = rebuilt.iter_mut().map(Vec::as_mut_slice).collect();
            coder.recover(lanes, wanted, &mut targets).expect("at least k lanes of one length, lost lanes in range");
        }
        Some(rebuilt)
    }
}

impl fmt::Debug for Erasure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Erasure").field("data", &self.data).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::SmallRng;
    use rand::{RngExt, SeedableRng};

    /// Multiplication in GF(2^8) modulo x^8 + x^4 + x^3 + x^2 + 1, bit by bit.
    fn multiply(mut a: u8, mut b: u8) -> u8 {
        let mut product = 0;
        while b != 0 {
            if b & 1 == 1 {
                product ^= a;
            }
            let carry = a & 0x80 != 0;
            a <<= 1;
            if carry {
                a ^= 0x1d;
            }
            b >>= 1;
        }
        product
    }

    fn invert(a: u8) -> u8 {
        (1..=255).find(|&b| multiply(a, b) == 1).expect("every element but 0 has an inverse")
    }

    fn naive_parity(data: &[Vec<u8>], lane: usize) -> Vec<u8> {
        let k = data.len();
        let coefficient = |j: usize| invert(u8::try_from((k + lane) ^ j).unwrap());
        let fold = |at: usize| (0..k).fold(0, |sum, j| sum ^ multiply(coefficient(j), data[j][at]));
        (0..data[0].len()).map(fold).collect()
    }

    fn random_lanes(data: usize, length: usize, seed: u64) -> Vec<Vec<u8>> {
        let mut random = SmallRng::seed_from_u64(seed);
        (0..data).map(|_| (0..length).map(|_| random.random()).collect()).collect()
    }

    fn encode(erasure: &Erasure, data: &[Vec<u8>], parity: usize) -> Vec<Vec<u8>> {
        let mut lanes = vec![vec![0; data[0].len()]; parity];
        let sources: Vec<&[u8]> = data.iter().map(Vec::as_slice).collect();
        erasure.encode(&sources, &mut lanes.iter_mut().map(Vec::as_mut_slice).collect::<Vec<_>>());
        lanes
    }

    #[test]
    fn parity_is_what_the_arithmetic_by_hand_gives() {
        for (data, parity) in [(1, 1), (1, 2), (2, 1), (3, 2), (4, 2), (8, 3), (16, 4)] {
            // lengths around the widths of vector registers
            for length in [1, 15, 31, 33, 64, 129, 1000] {
                let lanes = random_lanes(data, length, 5);
                let coded = encode(&Erasure::new(data, parity), &lanes, parity);
                for (lane, coded) in coded.iter().enumerate() {
                    assert_eq!(*coded, naive_parity(&lanes, lane), "{data}+{parity}, {length} bytes, parity {lane}");
                }
            }
        }
    }

    #[test]
    fn a_known_vector_never_changes() {
        let lanes: Vec<Vec<u8>> = (0..4_u8).map(|lane| (0..8).map(|at| lane * 16 + at).collect()).collect();
        let coded = encode(&Erasure::new(4, 2), &lanes, 2);
        assert_eq!(coded[0], naive_parity(&lanes, 0));
        assert_eq!(coded, [KNOWN[0].to_vec(), KNOWN[1].to_vec()]);
    }

    #[test]
    fn every_loss_of_up_to_m_lanes_is_rebuilt() {
        for (data, parity) in [(1, 1), (2, 1), (3, 2), (4, 2)] {
            let erasure = Erasure::new(data, parity);
            let mut lanes = random_lanes(data, 100, 9);
            lanes.extend(encode(&erasure, &lanes, parity));
            for mask in 0_u32..1 << (data + parity) {
                let lost: Vec<usize> = (0..data + parity).filter(|lane| mask >> lane & 1 == 1).collect();
                let left: Vec<Option<&[u8]>> = lanes
                    .iter()
                    .enumerate()
                    .map(|(lane, bytes)| (!lost.contains(&lane)).then_some(&bytes[..]))
                    .collect();
                match erasure.rebuild(&left, &lost) {
                    Some(rebuilt) => {
                        assert!(lost.len() <= parity);
                        let expected: Vec<Vec<u8>> = lost.iter().map(|&lane| lanes[lane].clone()).collect();
                        assert_eq!(rebuilt, expected, "{data}+{parity} without {lost:?}");
                    }
                    None => assert!(lost.len() > parity, "{data}+{parity} without {lost:?}"),
                }
            }
        }
    }

    const KNOWN: [[u8; 8]; 2] = [[232, 200, 168, 136, 104, 72, 40, 8], [210, 242, 146, 178, 82, 114, 18, 50]];
}
