"""The report's page in a browser: looked at, decided on, saved, and applied."""

import json
import os
import shutil
import time
from pathlib import Path
from urllib.parse import urlparse

import numpy as np
import pandas as pd
import pytest

from skinfluence.cleaning import read_decisions
from skinfluence.inspection._page import page
from tests.inspection.hostile import HOSTILE, LONG
from tests.inspection.reports import blobs, report_of

pytest.importorskip("selenium")
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
BROWSER = next(filter(None, map(shutil.which, BROWSERS)), None)
DRIVER = shutil.which("chromedriver")
AXE = os.environ.get("SKINFLUENCE_AXE", "node_modules/axe-core/axe.min.js")

pytestmark = pytest.mark.skipif(
    not (BROWSER and DRIVER), reason="needs Chromium and chromedriver"
)
SWITCHES = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--window-size=1200,900",
]


class Browser:
    """A browser with one page, its downloads, and what it has asked the network for."""

    def __init__(self, folder):
        options = webdriver.ChromeOptions()
        options.binary_location = BROWSER
        for switch in [*SWITCHES, f"--user-data-dir={folder / 'profile'}"]:
            options.add_argument(switch)
        self.downloads = folder / "downloads"
        options.add_experimental_option(
            "prefs", {"download.default_directory": str(self.downloads)}
        )
        options.set_capability(
            "goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"}
        )
        service = webdriver.ChromeService(DRIVER)
        self.driver = webdriver.Chrome(options=options, service=service)
        self.folder = folder

    def open(self, html):
        path = self.folder / "page.html"
        path.write_text(html, encoding="utf-8")
        self.driver.get_log("browser"), self.driver.get_log("performance")
        self.driver.get(path.as_uri())
        return self

    def all(self, selector):
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def run(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def press(self, *keys):
        for key in keys:
            webdriver.ActionChains(self.driver).send_keys(key).perform()

    def choose(self, selector, value):
        Select(self.one(selector)).select_by_value(value)

    def saved(self, kind):
        """Return the file that a button saves."""
        path = self.downloads / f"decisions.{kind}"
        path.unlink(missing_ok=True)
        self.one(f"#save-{kind}").click()
        WebDriverWait(self.driver, 10).until(lambda _: path.exists())
        return path

    def check_quiet(self):
        """No error in the console, and no request but for the page itself."""
        assert self.driver.get_log("browser") == []
        events = [
            json.loads(entry["message"])["message"]
            for entry in self.driver.get_log("performance")
        ]
        urls = [
            event["params"]["request"]["url"]
            for event in events
            if event["method"] == "Network.requestWillBeSent"
        ]
        outside = [url for url in urls if urlparse(url).scheme not in ("data", "blob")]
        assert set(outside) <= {(self.folder / "page.html").as_uri()}


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp("browser"))
    yield browser
    browser.driver.quit()


@pytest.fixture(scope="module")
def data():
    return blobs()


@pytest.fixture(scope="module")
def report(data):
    X, *_, y_val = data
    return report_of(data, X_test=X[:9] + 0.1, y_test=y_val[:9])


def html_of(report):
    return page(report.to_dict())


def test_filter_mark_save_and_apply(browser, report, data):
    X, y, *_ = data
    browser.open(html_of(report))
    suspects = report.to_dict()["suspects"]
    assert len(browser.all(".suspect-card")) == 20
    browser.choose("#filter-label", "1")
    of_b = [s["sample"] for s in suspects if y[s["sample"]] == "b"]
    shown = [int(card.get_attribute("id")[1:]) for card in browser.all(".suspect-card")]
    assert shown == of_b[:20]
    browser.choose("#filter-label", "")
    browser.press(Keys.ESCAPE, "j", "1", "j", "2", "j")
    browser.choose(f"#s{suspects[2]['sample']} .choice", "0")
    browser.one(f"#s{suspects[3]['sample']} .remove").click()
    browser.choose("#filter-decision", "remove")
    assert len(browser.all(".suspect-card")) == 2
    for kind in ("csv", "json"):
        decisions = read_decisions(browser.saved(kind), X, y)
        assert decisions.kept.tolist() == [suspects[0]["sample"]]
        expected = [suspects[1]["sample"], suspects[3]["sample"]]
        assert decisions.removed.tolist() == expected
        assert decisions.relabelled == {suspects[2]["sample"]: "a"}
    applied = report.apply(browser.downloads / "decisions.csv")
    browser.check_quiet()
    browser.open(html_of(applied))
    cells = [cell.text for cell in browser.all(".scores tbody .after")]
    wanted = applied.scores[["score_after", "loss_after"]].to_numpy().ravel()
    np.testing.assert_allclose([*map(float, cells)], wanted, rtol=1e-3)
    browser.check_quiet()
