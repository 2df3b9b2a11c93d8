// Beside the page and not in it, so that the content security policy allows no inline script.
import { init } from "/static/vendor/redoc.standalone.js";

init("/openapi.json", {}, document.getElementById("redoc"));
