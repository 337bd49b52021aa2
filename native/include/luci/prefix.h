// Which part of a new prompt stands in some slot's cache already, or soon will.
#pragma once

#include <vector>

#include "luci/context.h"
#include "luci/slot.h"

namespace luci {

struct PrefixPlan {
    Slot * target = nullptr;  // the idle slot that takes the request; null = none is idle
    Slot * source = nullptr;  // the slot to copy from; null = use the target's own cache
    int32_t n_tokens = 0;     // tokens of the prompt that need no computing
    bool must_wait = false;   // the source has not computed them yet
};

// Length of the common beginning.
int32_t common_prefix(const std::vector<llama_token> & a, const std::vector<llama_token> & b);

// Tokens of `slot`'s cache that `task` can go on from, if the slot's sequence is cut there. At
// least one prompt token is always left to compute, since the first answer token needs its logits.
// 0 where the memory cannot be cut at that place: recurrent states, or a sliding window that has
// moved on.
int32_t reusable_prefix(const Slot & slot, const Task & task, const Context & context,
                        const Memory & memory);

// `ms_per_token` is the measured prefill cost, for weighing a copy against computing again.
PrefixPlan plan_prefix(std::vector<Slot> & slots, const Task & task, const Context & context,
                       const Memory & memory, double ms_per_token);

// Makes `to` hold the first n tokens of `from`. False: the memory refused, and `to` is empty.
bool copy_prefix(Slot & from, Slot & to, int32_t n, const Context & context, Memory & memory);

}  // namespace luci
