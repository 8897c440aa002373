//! Lists of tensors: their arguments, which tensor an access is to, and what one tensor says of itself.

use tilewright::dsl::element::ElementType;
use tilewright::dsl::ir::{Access, Bounds, Expression, Guard, List, Symbol, Type};

use super::Generator;
use super::builder::Value;
use crate::case::{Argument, Tensor};

impl Generator {
    /// A list parameter and its argument: tensors of one memory, which share no byte. Some lists need an extent to be the
    /// same in all of them.
    pub fn list(&mut self, element: ElementType, extents: &[Vec<u64>], rank: usize, mutable: bool) -> u32 {
        let parameter = self.tensor_parameter(element, rank + 1, mutable);
        let mut list = List::default();
        for axis in 0..rank {
            let same = extents.windows(2).all(|pair| pair[0][axis] == pair[1][axis]);
            list.shared[axis + 1] = same && self.rng.bool();
        }
        self.b.tensor_mut(parameter).list = Some(list);
        let (mut bytes, mut members) = (Vec::new(), Vec::new());
        for extents in extents {
            // Where a tensor lies is a matter of its own, as all of it is.
            let mut member = self.placed(element, extents, mutable, None);
            let shift = bytes.len().next_multiple_of(16);
            bytes.resize(shift, 0xa5);
            bytes.append(&mut member.bytes);
            member.offset += shift as u64;
            members.push(member);
        }
        let most = |axis: usize| extents.iter().map(|extents| extents[axis]).max().unwrap_or(0);
        self.arguments.push(Argument::Tensor(Tensor {
            element,
            mutable,
            extents: [extents.len() as u64].into_iter().chain((0..rank).map(most)).collect(),
            strides: Vec::new(),
            offset: 0,
            bytes,
            members: Some(members),
        }));
        self.lists.push(parameter);
        parameter
    }

    /// How many of the first indices of an access to a parameter say which tensor it is to.
    pub fn leading(&self, tensor: u32) -> usize {
        usize::from(self.lists.contains(&tensor))
    }

    /// Which tensor of a list: any, or one that there is not.
    pub fn member(&mut self, list: u32, depth: u32) -> Value {
        let length = self.extents(list)[0];
        let at = self.b.index(0);
        self.any_index(at, length, false, depth.min(1), Some((list, 0)))
    }

    /// An extent or stride of some tensor of some list.
    pub fn of_member(&mut self) -> Option<Value> {
        let list = self.rng.choice(self.lists.clone())?;
        let (length, rank) = (self.extents(list)[0], self.extents(list).len());
        let axis = self.rng.u8(1..rank as u8);
        // The stride of an axis without neighbours means nothing, nor does that of a tensor that is not there.
        let members = match &self.arguments[list as usize] {
            Argument::Tensor(tensor) => tensor.members.clone().unwrap_or_default(),
            _ => Vec::new(),
        };
        let long = length > 0
            && members
                .iter()
                .all(|member| member.extents.iter().all(|&extent| extent > 1));
        let (symbol, index) = if long && self.rng.u8(..3) == 0 {
            let index = self.rng.i64(0..length as i64);
            (Symbol::Stride { tensor: list, axis }, self.b.index(index))
        } else {
            let index = self.member(list, 1);
            (
                Symbol::Extent { tensor: list, axis },
                self.b.cast(index, ElementType::I64),
            )
        };
        let bounds = match self.rng.u8(..4) {
            0 => Bounds::Clamp,
            1 if self.traps => Bounds::Trap,
            _ => Bounds::ReadZeroSkipWrite,
        };
        let access = Access {
            tensor: list,
            indices: [index].into_iter().collect(),
            guards: [Guard::FULL].into_iter().collect(),
            bounds,
            mask: None,
            cache: None,
            must_be_wide: false,
        };
        Some(self.b.emit(Expression::Member { symbol, access }, Type::INDEX))
    }
}
