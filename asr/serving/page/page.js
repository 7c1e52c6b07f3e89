// Sends what is said to the server, and shows what it answers.
const byId = (id) => document.getElementById(id);
const KEPT_SECONDS = 60, MOST_ENTRIES = 50;
let talk = null; // what is open: context, socket, samples

function element(kind, text, className) {
  const found = document.createElement(kind);
  if (text !== undefined) found.textContent = text;
  if (className) found.className = className;
  return found;
}

function connect(rate) {
  const token = byId("token").value.trim();
  const encoded = btoa(token).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
  const address = new URL("/v1/live", location.href);
  address.protocol = address.protocol.replace("http", "ws");
  const socket = new WebSocket(address, token ? ["earshot", `bearer.${encoded}`] : ["earshot"]);
  socket.binaryType = "arraybuffer";
  socket.onopen = () => socket.send(JSON.stringify({ config: { sample_rate: rate } }));
  return socket;
}

function take(own, samples) {
  const whole = Int16Array.from(samples, (value) => Math.round(Math.max(-1, Math.min(1, value)) * 32767));
  let sum = 0;
  for (const value of samples) sum += value * value;
  byId("level").value = Math.max(-60, 10 * Math.log10(sum / samples.length + 1e-9));
  if (own.socket.readyState !== WebSocket.OPEN) return;
  own.socket.send(whole);
  own.pieces.push(whole);
  own.kept += whole.length;
  while (own.kept > KEPT_SECONDS * own.rate) {
    const dropped = own.pieces.shift().length;
    own.kept -= dropped;
    own.first += dropped;
  }
}

function cut(own, start, end) {
  const all = new Int16Array(own.kept);
  let place = 0;
  for (const piece of own.pieces) { all.set(piece, place); place += piece.length; }
  const from = Math.max(0, Math.round(start * own.rate) - own.first);
  return Float32Array.from(all.subarray(from, Math.max(from, Math.round(end * own.rate) - own.first)), (value) => value / 32768);
}

function replay(samples, rate) {
  const context = new AudioContext();
  const buffer = context.createBuffer(1, Math.max(1, samples.length), rate);
  buffer.copyToChannel(samples, 0);
  const source = new AudioBufferSourceNode(context, { buffer });
  source.connect(context.destination);
  source.onended = () => context.close();
  source.start();
}

function card(event) {
  const understood = event.event === "final", command = event.command;
  const found = element("div", undefined, understood ? "card" : "card rejected");
  found.append(element("p", understood ? event.text : "Not understood", "title"));
  if (!command) return found;
  const list = element("dl"), rows = understood ? [["intent", command.intent], ...Object.entries(command.slots ?? {})] : [];
  if (understood) rows.push(["confidence", `${Math.round(100 * command.confidence)} %`]);
  for (const [name, value] of rows) list.append(element("dt", name), element("dd", String(value)));
  found.append(list);
  if (!understood) {
    const nearest = (command.alternatives ?? []).map((each) => each.text);
    if (nearest.length) found.append(element("p", `Nearest: ${nearest.join("; ")}`));
    if (command.heard) found.append(element("p", `Heard without the grammar: ${command.heard}`));
  }
  return found;
}

function show(own, event) {
  if (event.event === "partial") { byId("words").textContent = event.text; return; }
  byId("words").textContent = "";
  byId("card").replaceChildren(card(event));
  const entry = element("li"), samples = cut(own, event.start, event.end);
  const text = event.text || "not understood", button = element("button", "Play");
  button.type = "button";
  button.setAttribute("aria-label", `Play what was said: ${text}`);
  button.onclick = () => replay(samples, own.rate);
  entry.append(element("span", text), button);
  byId("history").prepend(entry);
  while (byId("history").children.length > MOST_ENTRIES) byId("history").lastElementChild.remove();
}

async function begin(open, name) {
  const context = new AudioContext();
  const own = { context, rate: context.sampleRate, pieces: [], kept: 0, first: 0, socket: null, stream: null };
  talk = own;
  byId("microphone").textContent = "Stop";
  byId("microphone").setAttribute("aria-pressed", "true");
  try {
    await context.audioWorklet.addModule("/page/recorder.js");
    const source = await open(own);
    if (talk !== own) { own.stream?.getTracks().forEach((track) => track.stop()); await context.close(); return; }
    own.socket = connect(own.rate);
    own.socket.onmessage = (message) => show(own, JSON.parse(message.data));
    own.socket.onclose = (closed) => end(own, closed.code === 1000 ? "Not listening." : `The server closed the connection: ${closed.reason || "it cannot be reached, or the token is another one"}.`);
    await new Promise((resolve) => own.socket.addEventListener("open", resolve, { once: true }));
    const recorder = new AudioWorkletNode(context, "recorder", { numberOfOutputs: 0, channelCount: 1, channelCountMode: "explicit" });
    recorder.port.onmessage = (message) => take(own, message.data);
    source.connect(recorder);
    source.start?.();
    byId("state").textContent = name;
  } catch (error) {
    end(own, `${error.name}: ${error.message}; expected a microphone, or a recording that this browser can play.`);
  }
}

function finish() {
  const own = talk;
  if (own?.socket?.readyState === WebSocket.OPEN) {
    own.stream?.getTracks().forEach((track) => track.stop());
    own.socket.send(JSON.stringify({ eof: 1 }));
    byId("state").textContent = "Finishing ...";
  } else if (own) end(own, "Not listening.");
}

function end(own, state) {
  if (talk !== own) return;
  talk = null;
  own.stream?.getTracks().forEach((track) => track.stop());
  own.socket?.close();
  own.context.close();
  byId("level").value = -60;
  byId("words").textContent = "";
  byId("state").textContent = state;
  byId("microphone").textContent = "Speak";
  byId("microphone").setAttribute("aria-pressed", "false");
}

async function openMicrophone(own) {
  if (!navigator.mediaDevices) throw new Error("no microphone outside https and localhost");
  const audio = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
  own.stream = await navigator.mediaDevices.getUserMedia({ audio });
  return own.context.createMediaStreamSource(own.stream);
}

async function openFile(own, file) {
  const buffer = await own.context.decodeAudioData(await file.arrayBuffer());
  const source = new AudioBufferSourceNode(own.context, { buffer });
  source.connect(own.context.destination);
  source.onended = () => { if (talk === own) finish(); };
  return source;
}

byId("microphone").onclick = () => (talk ? finish() : begin(openMicrophone, "Listening."));
byId("file").onchange = async (chosen) => {
  const [file] = chosen.target.files;
  chosen.target.value = "";
  if (!file) return;
  if (talk) end(talk, "Not listening.");
  await begin((own) => openFile(own, file), `Playing ${file.name}.`);
};
