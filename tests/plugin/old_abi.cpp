// A plug-in of another interface version: must be refused with both versions named.
namespace rewardloom {
class Registry;
}
extern "C" int rewardloom_plugin_abi() { return 0; }
extern "C" void rewardloom_plugin_register(rewardloom::Registry&) {}
