//! A plan as JSON and the like.

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::micro::MicroPlan;
use super::{Execution, Plan, PrefillGraph, Profile};

/// A map of what applies to the step. An eager forward has its aligned and padded counts and its buffer, one under a graph
/// the graph's bucket, its buffer, and what is allocated besides.
impl Serialize for Plan {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let layout = self.layout();
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("profile", &self.profile)?;
        map.serialize_entry("scaled", layout.counts())?;
        map.serialize_entry("logprob", self.logits.counts())?;
        map.serialize_entry("graph", &self.graph().is_some())?;
        match &self.execution {
            Execution::Eager(_) => {
                map.serialize_entry("aligned", &layout.aligned().collect::<Vec<_>>())?;
                map.serialize_entry("mode", &layout.mode())?;
                map.serialize_entry("padded", layout.padded())?;
                map.serialize_entry("buffer_rows", &layout.rows())?;
                map.serialize_entry("buffer_bytes", &layout.bytes())?;
                map.serialize_entry("local_start", layout.starts())?;
            }
            Execution::Graph(graph) => {
                map.serialize_entry("bucket", &graph.bucket)?;
                map.serialize_entry("graph_rows", &layout.rows())?;
                map.serialize_entry("graph_bytes", &layout.bytes())?;
                map.serialize_entry("transient_rows", &self.allocated_rows())?;
                map.serialize_entry("transient_bytes", &self.allocated_bytes())?;
                map.serialize_entry("mode", &layout.mode())?;
                map.serialize_entry("local_start", layout.starts())?;
                map.serialize_entry("local_rows_copied", layout.padded())?;
                map.serialize_entry("attn_rows_per_rank", &graph.attention_rows)?;
            }
        }
        // Plans by older versions' rules stay as recorded ones are, unless something is asked that they do not have.
        if self.profile() >= Profile::Main202611 || self.told().is_some() {
            map.serialize_entry("exchanged_bytes", &self.exchanged_bytes())?;
        }
        if let Some(told) = self.told() {
            map.serialize_entry("exchange", told)?;
        }
        match self.prefill_graph() {
            None => {}
            Some(PrefillGraph::Runs { bucket, .. }) => map.serialize_entry("prefill_graph", &bucket)?,
            Some(PrefillGraph::Refused(why)) => map.serialize_entry("no_prefill_graph_because", &why.to_string())?,
        }
        if let Some(micro) = self.micro() {
            map.serialize_entry("micro_batches", micro.parts())?;
            if let MicroPlan::Whole(why) = micro {
                map.serialize_entry("whole_because", &why.to_string())?;
            }
        }
        if let Some(shards) = self.shards() {
            map.serialize_entry("shard_rows", shards)?;
        }
        if let Some(wire) = self.wire() {
            map.serialize_entry("wire", &wire.format)?;
            map.serialize_entry("wire_row", &wire.row)?;
            map.serialize_entry("wire_gathered_bytes", &wire.gathered_bytes())?;
            map.serialize_entry("wire_combined_bytes", &wire.combined_bytes())?;
        }
        if let Some(phase) = self.phase() {
            map.serialize_entry("phase", phase)?;
        }
        if !self.all_to_all().is_empty() {
            map.serialize_entry("all_to_all", self.all_to_all())?;
        }
        if let Some(combine) = self.expert_combine() {
            map.serialize_entry("expert_combine", &combine)?;
        }
        if let Some(bound) = self.bound() {
            map.serialize_entry("own_rows", &bound.own)?;
            map.serialize_entry("received_at_most", &bound.received)?;
            if let Some(experts) = &bound.experts {
                map.serialize_entry("expert_rows_at_most", experts)?;
            }
        }
        if let Some(symmetric) = self.symmetric() {
            map.serialize_entry("symmetric", &symmetric)?;
        }
        map.end()
    }
}
