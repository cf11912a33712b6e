// Shows openapi.json as a page: no library, nothing from outside.
"use strict";
(async () => {
  const make = (tag, props = {}, ...inside) => {
    const { className, ...attributes } = props;
    const node = document.createElement(tag);
    if (className) node.className = className;
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.append(...inside);
    return node;
  };
  // Text with `code` between back-ticks.
  const marked = (text) => String(text || "").split("`").map((part, i) => (i % 2 ? make("code", {}, part) : part));
  const prose = (text) => String(text || "").split(/\n\n+/).map((block) => make("p", {}, ...marked(block)));

  const api = await (await fetch("/api/v1/openapi.json")).json();
  const named = (ref) => api.components.schemas[ref.split("/").pop()];

  function shape(schema, depth = 0) {
    if (!schema) return "any";
    if (schema.$ref) return shape(named(schema.$ref), depth);
    const options = schema.anyOf || schema.oneOf;
    if (options) return [...new Set(options.map((one) => shape(one, depth)))].join(" | ");
    if (schema.enum) return schema.enum.map((one) => JSON.stringify(one)).join(" | ");
    if (schema.const !== undefined) return JSON.stringify(schema.const);
    if (schema.type === "array") return depth > 5 ? "[…]" : "[" + shape(schema.items, depth) + "]";
    if (schema.type === "object" && schema.properties) {
      if (depth > 5) return "{…}";
      const pad = "  ".repeat(depth + 1);
      const needed = new Set(schema.required || []);
      const lines = Object.entries(schema.properties).map(([name, inner]) =>
        `${pad}${name}${needed.has(name) ? "" : "?"}: ${shape(inner, depth + 1)}`);
      return "{\n" + lines.join("\n") + "\n" + "  ".repeat(depth) + "}";
    }
    return schema.format || schema.type || "any";
  }

  const calls = document.getElementById("calls");
  const text = document.getElementById("text");
  text.replaceChildren(make("h1", {}, api.info.title), ...prose(api.info.description));
  const groups = new Map();
  for (const [path, item] of Object.entries(api.paths)) {
    for (const [method, call] of Object.entries(item)) {
      const tag = (call.tags || [""])[0];
      if (!groups.has(tag)) groups.set(tag, []);
      groups.get(tag).push([path, method, call]);
    }
  }
  for (const [tag, list] of groups) {
    calls.append(make("h2", {}, tag));
    text.append(make("h2", {}, tag));
    for (const [path, method, call] of list) {
      const id = `${method}${path.replace(/[^a-zA-Z0-9]+/g, "-")}`;
      const badge = () => make("span", { className: `method m-${method}` }, method.toUpperCase());
      calls.append(make("a", { href: "#" + id }, badge(), path.replace("/api/v1", "").replace(/\{\w+_id\}/g, "{id}")));
      const box = make("section", { className: "call", id }, make("h3", {}, badge(), " " + path));
      box.append(make("p", {}, make("strong", {}, call.summary || "")), ...prose(call.description));
      box.append(make("p", { className: "hint" }, "Roles: " + (call["x-roles"] || []).join(", ")));
      if ((call.parameters || []).length) {
        const body = make("tbody");
        for (const one of call.parameters) {
          body.append(make("tr", {}, make("td", {}, make("code", {}, one.name + (one.required ? "" : "?"))), make("td", {}, one.in),
            make("td", {}, make("code", {}, shape(one.schema))), make("td", {}, one.description || (one.schema || {}).description || "")));
        }
        box.append(make("h4", {}, "Parameters"), make("div", { className: "scroll" }, make("table", {}, body)));
      }
      for (const [type, content] of Object.entries((call.requestBody || {}).content || {})) {
        box.append(make("h4", {}, "Body: " + type), make("pre", {}, shape(content.schema)));
      }
      box.append(make("h4", {}, "Answers"));
      for (const [status, answer] of Object.entries(call.responses)) {
        const content = Object.values(answer.content || {})[0];
        box.append(make("div", {}, make("code", {}, status), " ", ...marked(answer.description)));
        if (status.startsWith("2") && content && content.schema && Object.keys(content.schema).length) box.append(make("pre", {}, shape(content.schema)));
      }
      text.append(box);
    }
  }
  if (location.hash) document.querySelector(CSS.escape ? "#" + CSS.escape(location.hash.slice(1)) : location.hash)?.scrollIntoView();
})();
