//! How many connections each address has.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Connections by address. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Addresses {
    most: usize,
    counts: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// One connection of an address, for as long as it lives.
#[derive(Debug)]
pub(super) struct Place {
    all: Addresses,
    address: IpAddr,
}

impl Addresses {
    /// At most so many of one address.
    pub(super) fn new(most: usize) -> Addresses {
        Addresses { most, counts: Arc::default() }
    }

    /// A place for one more connection, unless the address has too many.
    pub(super) fn enter(&self, address: IpAddr) -> Option<Place> {
        let address = subscriber(address);
        let mut counts = self.lock();
        let count = counts.entry(address).or_insert(0);
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Place { all: self.clone(), address })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.all.lock();
        match counts.get_mut(&self.address) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(counts.remove(&self.address)),
        }
    }
}

/// An IPv6 subscriber has a /64 of addresses to come from.
fn subscriber(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_so_many_places_and_gets_them_back() {
        let addresses = Addresses::new(2);
        let (one, other) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let first = addresses.enter(one).unwrap();
        let _second = addresses.enter("::ffff:192.0.2.1".parse().unwrap()).unwrap();
        assert!(addresses.enter(one).is_none());
        assert!(addresses.enter(other).is_some());
        drop(first);
        assert!(addresses.enter(one).is_some());
        assert_eq!(addresses.lock().len(), 1);
    }

    #[test]
    fn an_ipv6_subscriber_counts_as_one() {
        let addresses = Addresses::new(1);
        let _place = addresses.enter("2001:db8::1".parse().unwrap()).unwrap();
        assert!(addresses.enter("2001:db8::2".parse().unwrap()).is_none());
        assert!(addresses.enter("2001:db8:0:1::1".parse().unwrap()).is_some());
    }
}
