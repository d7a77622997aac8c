"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
document.getElementById("list").textContent = data.suspects.length + " suspects";
