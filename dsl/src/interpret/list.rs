//! Lists of tensors: which of them an access is to, and what is known of one.

use super::InterpretError;
use super::Known;
use super::access::{Outside, Touched, Unguarded};
use super::argument::Tensor;
use super::program::Machine;
use super::value::Value;
use crate::ir::{Access, Bounds, Expression, Handle, Layout, MAX_RANK, Span, Symbol};

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
            .member(access, span)?
            .and_then(|index| launch.arguments.member(access.tensor, index));
        Ok(place.and_then(|place| Some((place, launch.arguments.tensor(place)?))))
    }

    /// The number of the tensor of a list that an access is to; of one that it does not have, what the policy makes of it.
    fn member(&mut self, access: &Access, span: Span) -> Result<Option<i64>, InterpretError> {
        let (index, guard) = (self.integer(access.indices[0]), access.guards[0]);
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
                let member = self.member(access, span)?;
                member
                    .and_then(|index| launch.arguments.of_member(symbol, index))
                    .unwrap_or(0)
            }
        };
        Ok(Value::Uniform(value.cast_unsigned()))
    }

    /// The value of a scalar integer.
    pub fn integer(&self, value: Handle<Expression>) -> i128 {
        self.scalar(value).as_integer().unwrap_or(0)
    }
}
