# SPDX-License-Identifier: Apache-2.0
"""Hooks of autograd against PyTorch: on tensors, on nodes and on modules."""

from scenarios import equal, leaf, leaves, raised

# ---- hooks on tensors ----


@equal
def test_hook_on_a_leaf_replaces_its_gradient(t):
    x, _ = leaves(t)
    handle = x.register_hook(lambda g: g * 2)
    (x * 3).sum().backward()
    first = x.grad.clone()
    handle.remove()
    handle.remove()
    (x * 3).sum().backward()
    return first, x.grad


@equal
def test_hook_on_a_middle_tensor(t):
    x, _ = leaves(t)
    seen = []
    y = x * 3
    y.register_hook(lambda g: seen.append(g.clone()))
    y.register_hook(lambda g: g + 1)
    (y * y).sum().backward()
    return seen, x.grad


@equal
def test_hooks_run_in_order_of_registration_and_once(t):
    x, _ = leaves(t)
    order = []
    for k in range(3):
        x.register_hook(lambda g, k=k: order.append(k))
    y = x * 2
    (y + y * y).sum().backward()
    return order


@equal
def test_hook_on_one_of_several_outputs(t):
    x = leaf(t, [1.0, 2.0, 3.0, 4.0])
    a, b = x.split(2)
    b.register_hook(lambda g: g * 10)
    (a * 2 + b * 3).sum().backward()
    return x.grad


@equal
def test_hook_also_changes_the_result_of_grad(t):
    x, _ = leaves(t)
    x.register_hook(lambda g: -g)
    y = x * 2
    y.register_hook(lambda g: g * 5)
    z = y.sum()
    return t.autograd.grad(z, y, retain_graph=True), t.autograd.grad(z, x)


@equal
def test_retained_gradient_is_the_one_after_hooks(t):
    x, _ = leaves(t)
    y = x * 3
    y.retain_grad()
    y.register_hook(lambda g: g * 100)
    y.sum().backward()
    return y.grad, x.grad


@equal
def test_handle_as_context_manager(t):
    x, _ = leaves(t)
    with x.register_hook(lambda g: g * 2):
        x.sum().backward()
    x.sum().backward()
    return x.grad


@equal
def test_hook_errors(t):
    x, _ = leaves(t)
    message = raised(lambda: t.ones(2).register_hook(lambda g: g))
    x.register_hook(lambda g: g[:1])
    return message, raised(lambda: x.sum().backward()).split(":")[0]


@equal
def test_post_accumulate_hook_sees_the_leaf_with_its_gradient(t):
    x, y = leaves(t)
    seen = []

    def step(p):
        seen.append((p is x, p.grad.clone()))
        p.grad = None

    handle = x.register_post_accumulate_grad_hook(step)
    (x * y).sum().backward()
    gone = x.grad
    handle.remove()
    (x * y).sum().backward()
    return seen, gone, x.grad, raised(lambda: (x * 1).register_post_accumulate_grad_hook(step))


@equal
def test_an_exception_in_a_hook_leaves_the_graph_usable(t):
    x, _ = leaves(t)
    y = x * 3

    def fails(g):
        raise KeyError("from the hook")

    handle = y.register_hook(fails)
    loss = (y * y + y.exp()).sum()
    text = raised(lambda: loss.backward(retain_graph=True))
    handle.remove()
    none = x.grad
    loss.backward()
    return text, none, x.grad


@equal
def test_a_hook_may_differentiate(t):
    x, y = leaves(t)
    inner = []

    def hook(g):
        with t.enable_grad():
            z = leaf(t, [1.0, 2.0])
            (z * z).sum().backward()
            inner.append(z.grad)
        return g * inner[-1].sum()

    (x * y).register_hook(hook)
    z = x * y
    z.register_hook(hook)
    z.sum().backward()
    return x.grad, y.grad, inner


@equal
def test_a_hook_may_differentiate_through_the_leaves_of_the_outer_pass(t):
    x, y = leaves(t)
    inner = []

    def hook(g):
        with t.enable_grad():
            inner.extend(t.autograd.grad((x * x * y).sum(), [x, y]))
        return g * 2

    z = x * y
    h = z * x
    z.register_hook(hook)
    (h * x).sum().backward()
    return inner, x.grad, y.grad


# ---- hooks on nodes and modules ----


@equal
def test_node_hooks(t):
    x, y = leaves(t)
    z = x * y
    calls = []
    z.grad_fn.register_prehook(lambda outs: calls.append(("pre", len(outs))) or (outs[0] * 2,))
    z.grad_fn.register_hook(
        lambda ins, outs: calls.append(("post", len(ins), len(outs))) or (ins[0] + 1, ins[1])
    )
    z.sum().backward()
    return calls, x.grad, y.grad


@equal
def test_node_hook_handles(t):
    x, y = leaves(t)
    z = x * y
    z.grad_fn.register_hook(lambda ins, outs: (ins[0] * 7, ins[1])).remove()
    z.sum().backward()
    return x.grad


@equal
def test_module_hooks(t):
    t.manual_seed(0)
    with t.device("cpu"):  # the same random weights
        net = t.nn.Sequential(t.nn.Linear(3, 4), t.nn.Tanh(), t.nn.Linear(4, 2))
    net.to(t.get_default_device())
    calls = []
    net[0].register_forward_pre_hook(lambda m, args: calls.append("pre") or (args[0] * 2,))
    net[0].register_forward_hook(lambda m, args, out: calls.append("forward") or out + 1)
    net[1].register_full_backward_hook(
        lambda m, gi, go: calls.append(("full", len(gi), len(go))) or (gi[0] * 3,)
    )
    net[1].register_full_backward_pre_hook(
        lambda m, go: calls.append("backward pre") or (go[0] * 2,)
    )
    x = t.ones(2, 3, requires_grad=True)
    net(x).sum().backward()
    return calls, x.grad, [p.grad for p in net.parameters()]
