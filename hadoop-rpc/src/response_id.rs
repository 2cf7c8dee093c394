//! The conversation of `allocate`: which `response_id` to send, and whether an answer is the one that is due.

/// One allocate is in flight at a time. A request that got no answer is sent again as it was: the ResourceManager, one step
/// ahead, answers from its cache.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResponseId {
    last: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfOrder {
    pub expected: i32,
    pub found: i32,
}

impl ResponseId {
    /// What the next request carries: the id of the last answer.
    pub fn to_send(&self) -> i32 {
        self.last
    }

    pub fn on_answer(&mut self, found: i32) -> Result<(), OutOfOrder> {
        let expected = self.last.wrapping_add(1) & 0x7fff_ffff;
        if found != expected {
            return Err(OutOfOrder { expected, found });
        }
        self.last = found;
        Ok(())
    }

    /// The ResourceManager has forgotten this attempt, and it has registered anew.
    pub fn reset(&mut self) {
        self.last = 0;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The ResourceManager's side (`ApplicationMasterService.allocate`).
    #[derive(Default)]
    struct ResourceManager {
        last: i32,
    }

    impl ResourceManager {
        fn allocate(&mut self, sent: i32) -> Option<i32> {
            let next = (sent + 1) & 0x7fff_ffff;
            if sent == self.last {
                self.last = next;
                return Some(next);
            }
            (next == self.last).then_some(self.last)
        }
    }

    proptest! {
        #[test]
        fn lost_answers_and_resyncs_never_lose_step(faults in prop::collection::vec(0u8..4, 1..60)) {
            let (mut ours, mut theirs) = (ResponseId::default(), ResourceManager::default());
            for fault in faults {
                if fault == 3 {
                    theirs = ResourceManager::default();
                    ours.reset();
                }
                let answer = theirs.allocate(ours.to_send());
                prop_assert!(answer.is_some());
                // 1: the answer is lost, and the request repeated.
                let answer = if fault == 1 { theirs.allocate(ours.to_send()) } else { answer };
                prop_assert_eq!(ours.on_answer(answer.unwrap()), Ok(()));
            }
        }
    }

    #[test]
    fn it_wraps_where_java_does_and_refuses_what_is_not_due() {
        let mut id = ResponseId { last: i32::MAX };
        assert_eq!(id.on_answer(0), Ok(()));
        assert_eq!(id.on_answer(5), Err(OutOfOrder { expected: 1, found: 5 }));
        assert_eq!(id.to_send(), 0);
    }
}
