//! What is done lane by lane: choices, reports, instructions of the author's.

use super::Widen;
use crate::ir::Handle;
use crate::thread::{Operation, Predicate, Ptx, Report, Statement, Use, Value};

impl Widen {
    /// One of two in each lane, which is no question where the lane says which.
    pub(super) fn select(&mut self, value: Handle<Value>, condition: Handle<Predicate>, accept: Use, reject: Use) {
        let lanes = self.b.kernel().values[value].ty.lanes;
        let (accept, reject) = (self.packet(accept), self.packet(reject));
        let own: Vec<_> = (0..lanes).map(|lane| self.condition_at(condition, lane)).collect();
        let known: Option<Vec<bool>> = own.iter().map(|one| self.b.kernel().indices.is_known(*one)).collect();
        if let Some(known) = known {
            let mut parts = Vec::with_capacity(known.len());
            for (lane, accepts) in known.into_iter().enumerate() {
                parts.push(self.lane_of(if accepts { accept } else { reject }, lane as u8));
            }
            let packet = self.b.join(parts);
            self.values.insert(value, packet);
            return;
        }
        let condition = self.packet(condition.into());
        self.b.push(Statement::Let {
            value,
            operation: Operation::Select {
                condition,
                accept,
                reject,
            },
        });
    }

    /// A report of each lane.
    pub(super) fn report(&mut self, report: Report) {
        let kernel = self.b.kernel();
        let predicate = report.predicate.map(Use::Predicate);
        let operands = [Some(report.value), Some(report.met), predicate];
        let lanes = operands
            .into_iter()
            .flatten()
            .map(|operand| kernel.ty(operand).lanes)
            .max()
            .unwrap_or(1);
        if lanes == 1 {
            return self.b.push(Statement::Report(report));
        }
        let (value, met) = (self.packet(report.value), self.packet(report.met));
        for lane in 0..lanes {
            let own = Report {
                value: self.lane_of(value, lane),
                met: self.lane_of(met, lane),
                predicate: report.predicate.map(|predicate| self.condition_at(predicate, lane)),
                ..report
            };
            if own
                .predicate
                .is_none_or(|predicate| self.b.kernel().indices.is_known(predicate) != Some(false))
            {
                self.b.push(Statement::Report(own));
            }
        }
    }

    /// The author's instructions in each lane.
    pub(super) fn ptx(&mut self, ptx: Ptx) {
        let inputs: Vec<Use> = ptx.inputs.iter().map(|input| self.packet(*input)).collect();
        let first = ptx
            .outputs
            .first()
            .map(|output| self.b.kernel().values[*output].ty.lanes);
        let lanes = first.unwrap_or(1);
        if lanes == 1 {
            return self.b.push(Statement::Ptx(Ptx { inputs, ..ptx }));
        }
        let mut parts: Vec<Vec<Use>> = vec![Vec::new(); ptx.outputs.len()];
        for lane in 0..lanes {
            let inputs = inputs.iter().map(|input| self.lane_of(*input, lane)).collect();
            let mut outputs = Vec::with_capacity(ptx.outputs.len());
            for (output, parts) in ptx.outputs.iter().zip(&mut parts) {
                let ty = self.b.kernel().values[*output].ty.with_lanes(1);
                let own = self.b.kernel_mut().values.append(Value::of(ty));
                outputs.push(own);
                parts.push(own.into());
            }
            self.b.push(Statement::Ptx(Ptx {
                text: ptx.text.clone(),
                outputs,
                inputs,
                meaning: ptx.meaning.clone(),
            }));
        }
        for (output, parts) in ptx.outputs.iter().zip(parts) {
            let packet = self.b.join(parts);
            self.values.insert(*output, packet);
        }
    }
}
