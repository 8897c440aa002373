//! What a kernel does with its values and tensors, found once for the whole of it.

use std::collections::{HashMap, HashSet};

use crate::ir::{Expression, Handle, Kernel, Statement};
use crate::stack::room;

/// What is known of the whole kernel.
pub(super) struct Uses {
    /// Values on which it depends which way the threads of the program go.
    deciding: HashSet<Handle<Expression>>,
    /// How many stores there are into a tensor.
    stores: HashMap<u32, usize>,
    /// Which values are computed from a value.
    users: HashMap<Handle<Expression>, Vec<Handle<Expression>>>,
    /// Values that statements use as they are.
    used: HashSet<Handle<Expression>>,
}

impl Uses {
    pub(super) fn of(kernel: &Kernel) -> Self {
        let (mut open, mut stores) = (Vec::new(), HashMap::new());
        kernel.body.walk(&mut |statement, _| match statement {
            Statement::Store { access, .. } => *stores.entry(access.tensor).or_default() += 1,
            Statement::Let(_) | Statement::Prefetch(_) => {}
            other => other.for_each_use(|value| open.push(value)),
        });
        let mut deciding = HashSet::new();
        while let Some(value) = open.pop() {
            if deciding.insert(value) {
                kernel.expressions[value].for_each_operand(|operand| open.push(operand));
            }
        }
        let mut users: HashMap<Handle<Expression>, Vec<Handle<Expression>>> = HashMap::new();
        for (user, node) in kernel.expressions.iter() {
            node.for_each_operand(|operand| users.entry(operand).or_default().push(user));
        }
        let mut used = HashSet::new();
        kernel.body.walk(&mut |statement, _| match statement {
            Statement::Let(_) => {}
            other => other.for_each_use(|value| {
                used.insert(value);
            }),
        });
        Self {
            deciding,
            stores,
            users,
            used,
        }
    }

    /// The values that are computed from one, if nothing else is done with it.
    fn only_users(&self, value: Handle<Expression>) -> Option<&[Handle<Expression>]> {
        let users = self.users.get(&value).map(Vec::as_slice);
        users.filter(|_| !self.used.contains(&value))
    }

    /// How many of the first elements of an order along its axis are used, if not all of them.
    pub(super) fn first_of(&self, kernel: &Kernel, order: Handle<Expression>) -> Option<u32> {
        let Expression::ArgSort { axis, .. } = kernel.expressions[order] else {
            return None;
        };
        let most = kernel.ty(order).shape.extents()[usize::from(axis)];
        let first = self.first_along(kernel, order, axis)?;
        (first < most).then_some(first)
    }

    fn first_along(&self, kernel: &Kernel, value: Handle<Expression>, along: u8) -> Option<u32> {
        let mut first = 1;
        for &user in self.only_users(value)? {
            let most = match kernel.expressions[user] {
                Expression::Slice {
                    axis,
                    start,
                    step,
                    extent,
                    ..
                } if axis == along => {
                    let last = i64::from(start) + i64::from(step) * i64::from(extent - 1);
                    u32::try_from(last.max(start.into())).ok()? + 1
                }
                Expression::Take { value: of, index, axis } if index == value && of != value && axis == along => {
                    room(|| self.first_along(kernel, user, along))?
                }
                Expression::Cast { .. } => room(|| self.first_along(kernel, user, along))?,
                _ => return None,
            };
            first = first.max(most);
        }
        Some(first)
    }

    /// The values that are the sorted elements, if an order is used for nothing else.
    pub(super) fn as_elements(&self, kernel: &Kernel, order: Handle<Expression>) -> Option<Vec<Handle<Expression>>> {
        let Expression::ArgSort { value, axis, .. } = kernel.expressions[order] else {
            return None;
        };
        let users = self.only_users(order)?;
        let is_sorted = |user: &Handle<Expression>| match kernel.expressions[*user] {
            Expression::Take {
                value: of,
                index,
                axis: along,
            } => (of, index, along) == (value, order, axis),
            _ => false,
        };
        users.iter().all(is_sorted).then(|| users.to_vec())
    }

    /// Whether it depends on a value which way the threads of the program go.
    pub(super) fn decides(&self, value: Handle<Expression>) -> bool {
        self.deciding.contains(&value)
    }

    /// How many stores there are into a tensor.
    pub(super) fn stores_into(&self, tensor: u32) -> usize {
        self.stores.get(&tensor).copied().unwrap_or(0)
    }
}
