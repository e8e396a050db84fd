"use strict";
// A scan and its fitted hand, turned by hand. WebGL 1, nothing from outside; without it the page keeps its pictures.
(function () {
  const data = JSON.parse(document.getElementById("exhibits").textContent);
  const box = document.getElementById("viewer3d"), canvas = document.getElementById("view3d");
  const controls = document.getElementById("controls");
  if (!data.length) return;
  const gl = canvas.getContext("webgl", {antialias: true, alpha: true, premultipliedAlpha: false});
  if (!gl) return;
  const still = document.getElementById("still3d");
  box.hidden = false;
  still.hidden = true;

  const bytes = (text) => Uint8Array.from(atob(text), (one) => one.charCodeAt(0));
  const STEPS = 65535, PLAIN = [202, 198, 190], HAND = [82, 158, 168];

  function unpack(mesh, low, span, plain) {
    const steps = new Uint16Array(bytes(mesh.v).buffer), faces = new Uint16Array(bytes(mesh.f).buffer);
    const points = new Float32Array(steps.length), normals = new Float32Array(steps.length);
    for (let i = 0; i < steps.length; i++) points[i] = low[i % 3] + steps[i] / STEPS * span;
    for (let f = 0; f < faces.length; f += 3) {
      const [a, b, c] = [faces[f] * 3, faces[f + 1] * 3, faces[f + 2] * 3];
      const ux = points[b] - points[a], uy = points[b + 1] - points[a + 1], uz = points[b + 2] - points[a + 2];
      const vx = points[c] - points[a], vy = points[c + 1] - points[a + 1], vz = points[c + 2] - points[a + 2];
      const n = [uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx];
      for (const corner of [a, b, c]) for (let k = 0; k < 3; k++) normals[corner + k] += n[k] * 1e6;
    }
    const flat = new Uint8Array(steps.length);
    for (let i = 0; i < flat.length; i++) flat[i] = plain[i % 3];
    return {points, normals, faces, flat, colours: mesh.c ? bytes(mesh.c) : flat};
  }

  function shader(kind, text) {
    const one = gl.createShader(kind);
    gl.shaderSource(one, text);
    gl.compileShader(one);
    return one;
  }
  const program = gl.createProgram();
  gl.attachShader(program, shader(gl.VERTEX_SHADER, `
    attribute vec3 point, normal, colour; uniform mat4 view; uniform mat3 turn; varying vec3 n, c;
    void main() { gl_Position = view * vec4(point, 1.0); n = turn * normal; c = colour; }`));
  gl.attachShader(program, shader(gl.FRAGMENT_SHADER, `
    precision mediump float; varying vec3 n, c; uniform float opacity;
    void main() {
      vec3 m = normalize(n); if (!gl_FrontFacing) m = -m;
      float key = max(dot(m, normalize(vec3(-0.45, 0.6, 0.75))), 0.0), fill = max(dot(m, normalize(vec3(0.7, -0.2, 0.5))), 0.0);
      gl_FragColor = vec4(c * (0.36 + 0.62 * key + 0.18 * fill), opacity);
    }`));
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS)) { box.hidden = true; still.hidden = false; return; }
  gl.useProgram(program);
  const at = (name) => gl.getUniformLocation(program, name);
  const places = {point: [3, gl.FLOAT, false], normal: [3, gl.FLOAT, false], colour: [3, gl.UNSIGNED_BYTE, true]};

  function buffer(kind, values) {
    const one = gl.createBuffer();
    gl.bindBuffer(kind, one);
    gl.bufferData(kind, values, gl.STATIC_DRAW);
    return one;
  }
  function upload(mesh) {
    return {
      point: buffer(gl.ARRAY_BUFFER, mesh.points), normal: buffer(gl.ARRAY_BUFFER, mesh.normals),
      skin: buffer(gl.ARRAY_BUFFER, mesh.colours), flat: buffer(gl.ARRAY_BUFFER, mesh.flat),
      faces: buffer(gl.ELEMENT_ARRAY_BUFFER, mesh.faces), count: mesh.faces.length,
    };
  }

  const loaded = new Map();
  function exhibit(number) {
    if (!loaded.has(number)) {
      const one = data[number];
      loaded.set(number, {
        scan: upload(unpack(one.scan, one.low, one.span, PLAIN)),
        hand: one.hand && upload(unpack(one.hand, one.low, one.span, HAND)),
      });
    }
    return loaded.get(number);
  }

  const state = {number: 0, shown: data[0].hand ? "both" : "scan", skin: true, yaw: 0.35, pitch: 0.1, distance: 2.7};

  function draw(part, opacity, skin) {
    for (const [name, [size, kind, whole]] of Object.entries(places)) {
      const place = gl.getAttribLocation(program, name);
      gl.bindBuffer(gl.ARRAY_BUFFER, name === "colour" ? (skin ? part.skin : part.flat) : part[name]);
      gl.enableVertexAttribArray(place);
      gl.vertexAttribPointer(place, size, kind, whole, 0, 0);
    }
    gl.uniform1f(at("opacity"), opacity);
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, part.faces);
    gl.drawElements(gl.TRIANGLES, part.count, gl.UNSIGNED_SHORT, 0);
  }

  function render() {
    const ratio = Math.min(window.devicePixelRatio || 1, 2);
    const width = Math.round(canvas.clientWidth * ratio), height = Math.round(canvas.clientHeight * ratio);
    if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
    gl.viewport(0, 0, width, height);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    gl.enable(gl.DEPTH_TEST);
    const one = data[state.number], parts = exhibit(state.number);
    const [cy, sy, cp, sp] = [Math.cos(state.yaw), Math.sin(state.yaw), Math.cos(state.pitch), Math.sin(state.pitch)];
    const orbit = [[cy, 0, sy], [sp * sy, cp, -sp * cy], [-cp * sy, sp, cp * cy]];
    const turn = orbit.map((row) => [0, 1, 2].map((k) => row[0] * one.turn[k] + row[1] * one.turn[3 + k] + row[2] * one.turn[6 + k]));
    const moved = turn.map((row) => -(row[0] * one.focus[0] + row[1] * one.focus[1] + row[2] * one.focus[2]));
    const away = one.radius * state.distance, near = one.radius * 0.05, far = away + one.radius * 12;
    const zoom = 1 / Math.tan(0.36), aspect = width / height, fit = Math.min(1, aspect);
    const [fx, fy] = [zoom * fit / aspect, zoom * fit];
    const [p, q] = [-(far + near) / (far - near), -2 * far * near / (far - near)];
    const view = [];
    for (let k = 0; k < 3; k++) view.push(fx * turn[0][k], fy * turn[1][k], p * turn[2][k], -turn[2][k]);
    view.push(fx * moved[0], fy * moved[1], p * (moved[2] - away) + q, away - moved[2]);
    gl.uniformMatrix4fv(at("view"), false, new Float32Array(view));
    gl.uniformMatrix3fv(at("turn"), false, new Float32Array([0, 1, 2].flatMap((k) => turn.map((row) => row[k]))));
    gl.disable(gl.BLEND);
    gl.depthMask(true);
    const both = state.shown === "both" && parts.hand;
    if (parts.hand && state.shown !== "scan") draw(parts.hand, 1, false);
    if (state.shown === "scan" || !parts.hand) draw(parts.scan, 1, state.skin);
    if (both) {
      gl.enable(gl.BLEND);
      gl.blendFuncSeparate(gl.SRC_ALPHA, gl.ONE_MINUS_SRC_ALPHA, gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
      gl.colorMask(false, false, false, false);  // first where the scan is, so that its far side does not shine through
      draw(parts.scan, 1, false);
      gl.colorMask(true, true, true, true);
      gl.depthFunc(gl.LEQUAL);
      draw(parts.scan, 0.55, state.skin);
      gl.depthFunc(gl.LESS);
    }
  }

  let waiting = false;
  function change(values) {
    Object.assign(state, values);
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; render(); });
  }

  function group(label, choices, current, choose) {
    const buttons = [];
    const holder = document.createElement("div");
    holder.setAttribute("role", "group");
    holder.setAttribute("aria-label", label);
    holder.className = "controls";
    holder.style.margin = "0";
    for (const [value, text] of choices) {
      const one = document.createElement("button");
      one.type = "button";
      one.textContent = text;
      one.setAttribute("aria-pressed", String(value === current));
      one.addEventListener("click", () => {
        for (const other of buttons) other.setAttribute("aria-pressed", String(other === one));
        choose(value);
      });
      buttons.push(one);
      holder.append(one);
    }
    controls.append(holder);
  }

  if (data.length > 1) group("Capture", data.map((one, number) => [number, one.name]), 0, (number) => change({number}));
  if (data.some((one) => one.hand)) {
    group("Show", [["scan", "Scan"], ["hand", "Fitted hand"], ["both", "Both"]], state.shown, (shown) => change({shown}));
  }
  if (data.some((one) => one.scan.c)) {
    group("Colour", [[true, "Skin"], [false, "Plain"]], true, (skin) => change({skin}));
  }

  const touches = new Map();
  const clamp = (value, low, high) => Math.max(low, Math.min(high, value));
  const rotate = (x, y) => change({yaw: state.yaw + x, pitch: clamp(state.pitch + y, -1.5, 1.5)});
  const approach = (factor) => change({distance: clamp(state.distance * factor, 0.8, 8)});
  const spread = () => { const [a, b] = [...touches.values()]; return Math.hypot(a.x - b.x, a.y - b.y); };
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    touches.set(event.pointerId, {x: event.clientX, y: event.clientY});
  });
  canvas.addEventListener("pointermove", (event) => {
    const last = touches.get(event.pointerId);
    if (!last) return;
    const before = touches.size === 2 ? spread() : 0;
    const [x, y] = [event.clientX - last.x, event.clientY - last.y];
    touches.set(event.pointerId, {x: event.clientX, y: event.clientY});
    if (touches.size === 2) approach(before / Math.max(spread(), 1));
    else rotate(x * 0.01, y * 0.01);
  });
  for (const name of ["pointerup", "pointercancel", "lostpointercapture"]) {
    canvas.addEventListener(name, (event) => touches.delete(event.pointerId));
  }
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    approach(Math.exp(event.deltaY * 0.001));
  }, {passive: false});
  canvas.addEventListener("keydown", (event) => {
    const steps = {ArrowLeft: [-0.15, 0], ArrowRight: [0.15, 0], ArrowUp: [0, -0.15], ArrowDown: [0, 0.15]};
    if (event.key in steps) rotate(...steps[event.key]);
    else if (event.key === "+") approach(0.85);
    else if (event.key === "-") approach(1.18);
    else return;
    event.preventDefault();
  });
  new ResizeObserver(() => change({})).observe(canvas);
  change({});
})();
