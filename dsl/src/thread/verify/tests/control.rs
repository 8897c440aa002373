//! Labels, loops, and threads that meet.

use super::*;

#[test]
fn labels_are_of_what_is_around() {
    let outside = broken(|e| {
        let label = e.b.label();
        e.b.push(Statement::Leave(label));
    });
    assert_eq!(outside, Some(Rule::Label));
    let no_loop = broken(|e| e.b.scope(|b, label| b.push(Statement::Next(label))));
    assert_eq!(no_loop, Some(Rule::Label));
    let behind = broken(|e| {
        // The builder leaves out what stands behind.
        let statements = [Statement::Exit, Statement::AsyncCommit];
        let (label, body) = (
            e.b.label(),
            statements.map(|one| (one, Span::UNKNOWN)).into_iter().collect(),
        );
        e.b.push(Statement::Scope { label, body });
    });
    assert_eq!(behind, Some(Rule::Label));
    let twice = broken(|e| {
        let label = e.b.label();
        for _ in 0..2 {
            e.b.push(Statement::Scope {
                label,
                body: Default::default(),
            });
        }
    });
    assert_eq!(twice, Some(Rule::Once));
}

#[test]
fn loops_do_not_wrap_and_variables_are_what_is_known_of_them() {
    let counts = |step, end: i64, facts: Option<Facts>| {
        broken(|e| {
            let (start, end) = (e.b.constant(0), e.b.constant(end));
            let facts = facts.unwrap_or(Facts::NONE);
            let variable = e.b.kernel_mut().variables.append(Variable { facts });
            let label = e.b.label();
            let (unroll, body) = (Unroll::Free, Default::default());
            e.b.push(Statement::For {
                label,
                variable,
                start,
                end,
                step,
                unroll,
                body,
            });
        })
    };
    assert_eq!(counts(1, 10, None), None);
    assert_eq!(counts(0, 10, None), Some(Rule::Loop));
    assert_eq!(counts(2, i64::MAX, None), Some(Rule::Loop));
    assert_eq!(counts(8, 64, Some(Facts::between(0, 63).with_divisor(8))), None);
    assert_eq!(counts(8, 64, Some(Facts::between(0, 62))), Some(Rule::Loop));
    assert_eq!(counts(4, 64, Some(Facts::NONE.with_divisor(8))), Some(Rule::Loop));
    let named = broken(|e| {
        let thread = e.b.thread();
        let index = e.b.indices().offset(thread, 1);
        let variable = e.b.kernel_mut().variables.append(Variable {
            facts: Facts::between(0, 5),
        });
        e.b.push(Statement::Name { variable, index });
    });
    assert_eq!(named, Some(Rule::Loop));
}

#[test]
fn groups_are_such_as_hardware_has() {
    let meets = |group| broken(|e| e.b.push(Statement::Barrier { group }));
    for group in [1, 2, 16, 32, 64, 128] {
        assert_eq!(meets(group), None, "{group}");
    }
    for group in [0, 3, 48, 96, 256] {
        assert_eq!(meets(group), Some(Rule::Group), "{group}");
    }
    let vote = broken(|e| {
        let condition = zero(ElementType::Bool);
        e.b.emit(Operation::Vote {
            kind: Vote::Any,
            condition,
            group: 64,
        });
    });
    assert_eq!(vote, Some(Rule::Group));
    let by_warp = |threads| {
        broken(|e| {
            e.b.kernel_mut().threads = threads;
            e.b.emit(Operation::WarpReduce {
                op: BinaryOp::Max,
                value: zero(ElementType::U32),
            });
        })
    };
    assert_eq!([96, 128, 16].map(by_warp), [None, None, Some(Rule::Group)]);
    let many = changed(|kernel| {
        kernel.threads = 1024;
        kernel.body.push(Statement::Barrier { group: 64 }, Span::UNKNOWN);
    });
    assert_eq!(many, None);
}

#[test]
fn where_threads_meet_all_of_them_are() {
    let meets_if = |group: u32, condition: fn(&mut Example) -> Handle<crate::thread::Predicate>| {
        broken(|e| {
            let condition = condition(e);
            e.b.when(condition, |b| b.push(Statement::Barrier { group }));
        })
    };
    // The first warp alone, and what every warp has to itself.
    assert_eq!(meets_if(32, |e| e.first_warp()), None);
    assert_eq!(meets_if(64, |e| e.first_warp()), Some(Rule::Uniform));
    let one_thread = |e: &mut Example| {
        let (thread, zero) = (e.b.thread(), e.b.constant(0));
        e.b.indices().equal(thread, zero)
    };
    assert_eq!(meets_if(32, one_thread), Some(Rule::Uniform));
    let odd_pair = |e: &mut Example| {
        let (thread, two) = (e.b.thread(), e.b.constant(2));
        let pair = e.b.indices().quotient(thread, two);
        let (pair, one) = (e.b.indices().low(pair, 1), e.b.constant(1));
        e.b.indices().equal(pair, one)
    };
    assert_eq!(meets_if(2, odd_pair), None);
    assert_eq!(meets_if(4, odd_pair), Some(Rule::Uniform));
    // What all threads load from one place is the same, and what each loads is not.
    let loaded = |e: &mut Example| {
        let (load, zero) = (e.load(U32), e.b.constant(0));
        let place = Place {
            offset: zero,
            ..load.place
        };
        let value = e.b.load(Load { place, ..load });
        let set = e.b.is_not_zero(value);
        e.b.condition(set)
    };
    assert_eq!(meets_if(128, loaded), None);
    let own = |e: &mut Example| {
        let load = e.load(U32);
        let value = e.b.load(load);
        let set = e.b.is_not_zero(value);
        e.b.condition(set)
    };
    assert_eq!(meets_if(128, own), Some(Rule::Uniform));
    // Through a register that a loop sets, after those that left are gone, and in the trip after.
    let through = broken(|e| {
        let register = e.b.register("x", U32);
        e.b.assign(register, zero(ElementType::U32));
        let load = e.load(U32);
        e.b.repeat(Unroll::Free, |b, label| {
            let x = b.read(register);
            let set = b.is_not_zero(x);
            let set = b.condition(set);
            b.when(set, |b| b.push(Statement::Barrier { group: 128 }));
            let own = b.load(load);
            b.assign(register, own);
            let _ = label;
        });
    });
    assert_eq!(through, Some(Rule::Uniform));
    let left = |behind: bool| {
        broken(|e| {
            let first = e.first_warp();
            e.b.scope(|b, label| {
                b.when(first, |b| b.push(Statement::Leave(label)));
                if !behind {
                    b.push(Statement::Barrier { group: 128 });
                }
            });
            if behind {
                e.b.push(Statement::Barrier { group: 128 });
            }
        })
    };
    assert_eq!(left(false), Some(Rule::Uniform));
    assert_eq!(left(true), None);
    let ended = broken(|e| {
        let first = e.first_warp();
        e.b.when(first, |b| b.push(Statement::Exit));
        e.b.push(Statement::Barrier { group: 128 });
    });
    assert_eq!(ended, Some(Rule::Uniform));
}

#[test]
fn blocks_tell_others_of_their_cluster_what_is_in_shared_memory() {
    let told = |cluster: u32, block: i64, is_shared: bool| {
        broken(|e| {
            e.b.kernel_mut().cluster = cluster;
            let mut store = e.store(zero(ElementType::U32));
            if is_shared {
                let kind = BufferKind::Shared { offset: 0, bytes: 64 };
                let (buffer, start) = (e.b.buffer("told", 16, kind), e.b.constant(0));
                store.place = e.b.place(buffer, start);
            }
            store.block = Some(e.b.constant(block));
            e.b.store(store);
        })
    };
    assert_eq!(told(4, 3, true), None);
    for (cluster, block, is_shared) in [(4, 4, true), (4, -1, true), (1, 0, true), (4, 0, false)] {
        assert_eq!(
            told(cluster, block, is_shared),
            Some(Rule::Cluster),
            "{cluster} {block}"
        );
    }
    assert_eq!(told(9, 0, true), Some(Rule::Threads));
    assert_eq!(told(0, 0, true), Some(Rule::Threads));
}

#[test]
fn all_blocks_of_a_cluster_come_to_where_it_meets() {
    // 128 threads of each of four blocks.
    let meets_if = |group: u32, condition: fn(&mut Example) -> Handle<crate::thread::Predicate>| {
        broken(|e| {
            e.b.kernel_mut().cluster = 4;
            let condition = condition(e);
            e.b.when(condition, |b| b.push(Statement::Barrier { group }));
        })
    };
    let of_first = |e: &mut Example| {
        let (block, four, one) = (e.b.block(), e.b.constant(4), e.b.constant(1));
        let number = e.b.indices().remainder(block, four);
        e.b.indices().less(number, one)
    };
    let of_cluster = |e: &mut Example| {
        let (block, four, one) = (e.b.block(), e.b.constant(4), e.b.constant(1));
        let number = e.b.indices().quotient(block, four);
        e.b.indices().less(number, one)
    };
    let always = |e: &mut Example| e.b.indices().always(true);
    assert_eq!(meets_if(512, always), None);
    assert_eq!(meets_if(512, of_cluster), None);
    assert_eq!(meets_if(512, of_first), Some(Rule::Uniform));
    assert_eq!(meets_if(128, of_first), None);
    assert_eq!(meets_if(512, |e| e.first_warp()), Some(Rule::Uniform));
    assert_eq!(meets_if(32, |e| e.first_warp()), None);
    assert_eq!(meets_if(256, always), Some(Rule::Group));
    // What a block has in its shared memory is its own.
    let own = |e: &mut Example| {
        let kind = BufferKind::Shared { offset: 0, bytes: 64 };
        let (buffer, start) = (e.b.buffer("own", 16, kind), e.b.constant(0));
        let place = e.b.place(buffer, start);
        let load = Load {
            place,
            ..e.load(Type::scalar(ElementType::I32))
        };
        let found = e.b.load(load);
        let (found, one) = (e.b.index(found), e.b.constant(1));
        e.b.indices().less(found, one)
    };
    assert_eq!(meets_if(128, own), None);
    assert_eq!(meets_if(512, own), Some(Rule::Uniform));
}

#[test]
fn groups_of_all_sizes_have_barriers_of_their_own() {
    let meet = |sizes: &[u32]| {
        changed(|kernel| {
            kernel.threads = 1024;
            let barriers = sizes.iter().map(|&group| (Statement::Barrier { group }, Span::UNKNOWN));
            kernel.body = barriers.collect();
        })
    };
    assert_eq!(meet(&[64]), None);
    assert_eq!(meet(&[64, 64, 32, 8]), None);
    assert_eq!(meet(&[1024, 128, 256]), None);
    assert_eq!(meet(&[1024, 64]), Some(Rule::Group));
}

#[test]
fn threads_that_end_later_are_there_before() {
    let some_end = |b: &mut Builder| {
        let (thread, limit) = (b.thread(), b.constant(7));
        let few = b.indices().less(thread, limit);
        b.when(few, |b| b.push(Statement::Exit));
    };
    let meet = |b: &mut Builder| b.push(Statement::Barrier { group: 128 });
    assert_eq!(
        broken(|e| {
            meet(&mut e.b);
            some_end(&mut e.b);
        }),
        None
    );
    assert_eq!(
        broken(|e| {
            some_end(&mut e.b);
            meet(&mut e.b);
        }),
        Some(Rule::Uniform)
    );
    // In a loop what comes before comes after, too.
    assert_eq!(
        broken(|e| {
            e.b.repeat(Unroll::Never, |b, _| {
                meet(b);
                some_end(b);
            });
        }),
        Some(Rule::Uniform)
    );
}
