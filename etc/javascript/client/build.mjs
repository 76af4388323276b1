/** Makes dist/: the modules of the page's client, the room and the hook, with declarations from their JSDoc. */
import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import { fileURLToPath } from "node:url";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const CHAT = here("../../../workers/http/page/chat/");

rmSync(here("dist"), { recursive: true, force: true });
mkdirSync(here("dist"));
for (const name of readdirSync(CHAT)) cpSync(CHAT + name, here(`dist/${name}`));
for (const name of ["index.js", "room.js", "react.js"]) cpSync(here(name), here(`dist/${name}`));
const options =
  "--ignoreConfig --allowJs --checkJs --strict --declaration --emitDeclarationOnly --skipLibCheck --target esnext --moduleDetection force";
const more = "--module esnext --moduleResolution bundler --lib esnext,dom,dom.iterable --types react --outDir";
execFileSync(
  process.execPath,
  [
    here("../node_modules/typescript/bin/tsc"),
    ...options.split(" "),
    ...more.split(" "),
    here("dist"),
    here("dist/index.js"),
    here("dist/react.js"),
  ],
  { stdio: "inherit" },
);
