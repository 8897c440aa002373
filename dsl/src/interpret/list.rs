//! Lists of tensors: which of them an access is to, and what is known of one.

use std::collections::BTreeMap;

use super::InterpretError;
use super::Known;
use super::access::{Outside, Touched, Unguarded};
use super::argument::Tensor;
use super::program::Machine;
use super::value::{Extents, Value};
use crate::ir::{Access, Bounds, Expression, Handle, Layout, MAX_RANK, Span, Symbol};

/// A tensor, its place, and which elements of an access are its; all, if nothing says so.
type Target<'l> = (u32, &'l Tensor<'l>, Option<Value>);

impl<'l> Machine<'l> {
    /// The tensor that an access is to, with its place. `None` where a list does not have it, or nothing is accessed: what
    /// the policy says of that has happened then.
    pub fn target(
        &mut self,
        access: &Access,
        extents: [usize; MAX_RANK],
        span: Span,
    ) -> Result<Option<(u32, &'l Tensor<'l>)>, InterpretError> {
        let launch = self.launch;
        let list = launch.kernel.tensor(access.tensor).and_then(|tensor| tensor.list);
        if list.is_none() {
            return Ok(launch
                .arguments
                .tensor(access.tensor)
                .map(|tensor| (access.tensor, tensor)));
        }
        let masked = access.mask.map(|mask| &self.values[mask.index()]);
        if masked.is_some_and(|mask| mask.elements(1, extents).iter().all(|&byte| byte == 0)) {
            return Ok(None);
        }
        let place = self
            .member(access, [0; MAX_RANK], span)?
            .and_then(|index| launch.arguments.member(access.tensor, index));
        Ok(place.and_then(|place| Some((place, launch.arguments.tensor(place)?))))
    }

    /// The tensors that an access is to, which may be to several of a list, each with its place and with the elements that are
    /// its.
    pub fn targets(
        &mut self,
        access: &Access,
        extents: [usize; MAX_RANK],
        span: Span,
    ) -> Result<Vec<Target<'l>>, InterpretError> {
        let launch = self.launch;
        let mask = access.mask.map(|mask| self.values[mask.index()].clone());
        let is_to_one = match launch.kernel.tensor(access.tensor).and_then(|tensor| tensor.list) {
            Some(_) => launch.kernel.ty(access.indices[0]).is_scalar(),
            None => true,
        };
        if is_to_one {
            let target = self.target(access, extents, span)?;
            return Ok(target
                .into_iter()
                .map(|(place, tensor)| (place, tensor, mask.clone()))
                .collect());
        }
        let [planes, rows, columns] = extents;
        let mut of_each: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
        for element in 0..planes * rows * columns {
            let at = [element / columns / rows, element / columns % rows, element % columns];
            if mask.as_ref().is_some_and(|mask| mask.bits(1, at) == 0) {
                continue;
            }
            let index = self.member(access, at, span)?;
            if let Some(place) = index.and_then(|index| launch.arguments.member(access.tensor, index)) {
                let own = of_each.entry(place).or_insert_with(|| vec![0; planes * rows * columns]);
                own[element] = 1;
            }
        }
        let targets = of_each.into_iter().filter_map(|(place, own)| {
            Some((place, launch.arguments.tensor(place)?, Some(Value::dense(own, extents))))
        });
        Ok(targets.collect())
    }

    /// The number of the tensor of a list that an element of an access is of; of one that it does not have, what the policy
    /// makes of it.
    fn member(&mut self, access: &Access, at: Extents, span: Span) -> Result<Option<i64>, InterpretError> {
        let (index, guard) = (self.integer_at(access.indices[0], at), access.guards[0]);
        // The largest integer of any type is no number of a tensor, whatever it wraps to.
        let index = i64::try_from(index).unwrap_or(i64::MAX);
        let extent = self.launch.arguments.members(access.tensor) as i64;
        let (below, above) = (index < 0, index >= extent);
        if !below && !above {
            return Ok(Some(index));
        }
        let outside = Outside { axis: 0, index, extent };
        let touched = match (below && !guard.lower) || (above && !guard.upper) {
            true => Err(Unguarded(outside)),
            false => Ok(Touched { outside: Some(outside) }),
        };
        self.judge(touched, access, access.tensor, span)?;
        Ok((access.bounds == Bounds::Clamp && extent > 0).then(|| index.clamp(0, extent - 1)))
    }

    /// The extent or stride of one tensor of a list.
    pub fn of_member(&mut self, symbol: Symbol, access: &Access, span: Span) -> Result<Value, InterpretError> {
        let launch = self.launch;
        let Some(list) = launch.kernel.tensor(access.tensor) else {
            return Ok(Value::Uniform(0));
        };
        let differs = |axis: u8| launch.kernel.differs(access.tensor, axis);
        let value = match symbol {
            Symbol::Extent { axis, .. } if !differs(axis) => launch.arguments.symbol(symbol).unwrap_or(0),
            Symbol::Stride { axis, .. } if list.layout != Layout::Strided && axis + 1 == list.rank => 1,
            Symbol::Stride { tensor, axis } if list.layout == Layout::Contiguous => {
                let mut stride = 1i64;
                for axis in axis + 1..list.rank {
                    let extent = self.of_member(Symbol::Extent { tensor, axis }, access, span)?;
                    stride = stride.wrapping_mul(extent.bits(size_of::<i64>(), [0; MAX_RANK]).cast_signed());
                }
                stride
            }
            _ => {
                let member = self.member(access, [0; MAX_RANK], span)?;
                member
                    .and_then(|index| launch.arguments.of_member(symbol, index))
                    .unwrap_or(0)
            }
        };
        Ok(Value::Uniform(value.cast_unsigned()))
    }

    /// The value of a scalar integer.
    pub fn integer(&self, value: Handle<Expression>) -> i128 {
        self.integer_at(value, [0; MAX_RANK])
    }

    fn integer_at(&self, value: Handle<Expression>, at: Extents) -> i128 {
        self.element(value, at).as_integer().unwrap_or(0)
    }
}
